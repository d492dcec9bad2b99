"""The command line: one small file a command, over the verbs in `workflows`."""
