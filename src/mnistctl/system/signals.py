"""Defer Ctrl-C, SIGTERM and SIGHUP until it is safe to stop."""

import contextlib
import os
import signal
import stat
import threading
from collections.abc import Iterator
from types import FrameType

from mnistctl.errors import InterruptedRunError

# SIGHUP: the terminal was closed (Windows has none). Other signals end the process at once; the last
# saved state is intact.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Interrupt:
    """The signal that has arrived, if any."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    @property
    def exit_code(self) -> int:
        """128 + the signal's number; that of SIGTERM, 143, for a signal to another process."""
        return 128 + (self.signal or signal.SIGTERM)


@contextlib.contextmanager
def deferred() -> Iterator[Interrupt]:
    """Record the first Ctrl-C, SIGTERM or SIGHUP; raise `InterruptedRunError` at another one.

    A second SIGHUP changes nothing: a terminal that is closed sends it, and then its shell too.

    A signal that this process ignores stays ignored: `nohup` relies on that. Signals reach the main
    thread only. In any other thread this does nothing.
    """
    interrupt = Interrupt()

    def record(number: int, frame: FrameType | None) -> None:
        _leave_closed_terminal()
        if interrupt.signal is None:
            interrupt.signal = signal.Signals(number)
        elif signal.Signals(number).name != "SIGHUP":
            raise InterruptedRunError(
                "stopped at once; the last saved state is intact", exit_code=128 + number
            )

    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    handlers = {
        number: signal.signal(number, record)
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield interrupt
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _leave_closed_terminal() -> None:
    """Discard what is written to a terminal that was closed; it would be an error in every write."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, descriptor)
                os.close(null)
