"""The commands as Python functions, a module per command; `mnistctl` itself lists them."""
