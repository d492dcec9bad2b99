"""Defer Ctrl-C and SIGTERM until it is safe to stop."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from mnistctl.errors import InterruptedRunError


class Interrupt:
    """The signal that has arrived, if any."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    @property
    def exit_code(self) -> int:
        """128 + the signal's number: 130 for Ctrl-C, 143 for SIGTERM or a signal to another process."""
        return 128 + (self.signal or signal.SIGTERM)


@contextlib.contextmanager
def deferred() -> Iterator[Interrupt]:
    """Record the first Ctrl-C or SIGTERM; raise `InterruptedRunError` at the second.

    Signals reach the main thread only. In any other thread this does nothing.
    """
    interrupt = Interrupt()

    def record(number: int, frame: FrameType | None) -> None:
        if interrupt.signal is not None:
            raise InterruptedRunError(
                "stopped at once; the last saved state is intact", exit_code=128 + number
            )
        interrupt.signal = signal.Signals(number)

    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    handlers = {number: signal.signal(number, record) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
