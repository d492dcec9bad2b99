"""`python -m mnistctl`."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the working folder, whose files could be run in place of installed modules
    from mnistctl.cli.app import run

    run()
