"""`python -m mnistctl`."""

from mnistctl.cli.app import run

if __name__ == "__main__":
    run()
