"""Files, signals, versions and torchrun: what the operating system gives."""
