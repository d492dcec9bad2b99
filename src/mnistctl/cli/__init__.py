"""The command line: one small file per command, each calling `mnistctl`."""
