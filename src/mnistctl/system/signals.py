"""Ctrl-C and SIGTERM that wait for a good moment."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from mnistctl.errors import InterruptedRunError


class Interrupt:
    """Which signal has asked for an end, if any has."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    @property
    def exit_code(self) -> int:
        """128 and the signal's number: 130 for Ctrl-C, 143 for SIGTERM, here or in another process."""
        return 128 + (self.signal or signal.SIGTERM)


@contextlib.contextmanager
def deferred() -> Iterator[Interrupt]:
    """Within this, the first signal is only noted; a second one raises `InterruptedRunError` at once.

    Signals reach the main thread only; in any other this notes nothing.
    """
    interrupt = Interrupt()

    def note(number: int, frame: FrameType | None) -> None:
        if interrupt.signal is not None:
            raise InterruptedRunError(
                "stopped at once; what was saved before still stands", exit_code=128 + number
            )
        interrupt.signal = signal.Signals(number)

    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
