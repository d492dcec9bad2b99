"""Progress of long work: the library reports it, a user interface shows it.

Messages in words are ordinary logging, under the logger "mnistctl".
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from mnistctl.run.epoch import Epoch


class Progress:
    """Shows nothing; a subclass overrides what it displays."""

    def download(self, file: str, received: int, total: int | None) -> None:
        """`received` bytes of a file have arrived, of `total` if that is known."""

    def advance(self, task: str, done: int, total: int) -> None:
        """`done` of `total` parts of a task are done."""

    def training(self, images: int) -> None:
        """Training begins and will process `images` images in total."""

    def step(self, images: int) -> None:
        """A training step is done; `images` images have been processed so far."""

    def epoch(self, epoch: Epoch, *, best: bool) -> None:
        """An epoch is over; `best` says that its model was saved."""


_current: ContextVar[Progress] = ContextVar("progress", default=Progress())  # noqa: B039


def current() -> Progress:
    """What shows the progress of this thread's work; nothing by default."""
    return _current.get()


@contextlib.contextmanager
def shown_by(progress: Progress) -> Iterator[None]:
    """Within this, `progress` is told of all progress."""
    token = _current.set(progress)
    try:
        yield
    finally:
        _current.reset(token)
