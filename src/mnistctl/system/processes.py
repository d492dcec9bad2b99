"""Start Python processes that import no modules from the working folder.

Otherwise a file `numpy.py` in a folder from elsewhere would be run in place of NumPy.
"""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SAFE_PATH = "PYTHONSAFEPATH"


def usable_cores() -> int:
    """The number of cores that this process may use."""
    usable = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(usable(0)) if usable else os.cpu_count() or 1


def run_python(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run `python ARGUMENTS`, and wait for its end.

    Args:
        arguments: a program and its arguments, or `-c` and code.
        options: see `subprocess.run`.
    """
    return subprocess.run([sys.executable, "-P", *arguments], capture_output=True, **options)


@contextlib.contextmanager
def worker_environment() -> Iterator[None]:
    """Processes that `multiprocessing` starts meanwhile are safe, and leave Ctrl-C to this one."""
    previous = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if os.name == "posix" else None
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if previous is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = previous


def exit_with_parent() -> None:
    """End this process, which `multiprocessing` started, as soon as its parent has ended in any way."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
