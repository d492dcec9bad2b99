"""Progress of long operations: the library reports it, a user interface shows it.

Text messages are not part of this. The library logs them, under the logger "mnistctl".
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnistctl.run.epoch import Epoch


class Progress:
    """Receives progress and ignores it. A subclass overrides the methods whose progress it shows."""

    def download(self, file: str, received: int, total: int | None) -> None:
        """`received` of `total` bytes of a file have arrived; `total` may be unknown."""

    def advance(self, task: str, done: int, total: int) -> None:
        """`done` of `total` units of a task are done."""

    def training(self, images: int) -> None:
        """Training begins and will process `images` images in total."""

    def step(self, images: int) -> None:
        """A training step is done. `images` images have been processed so far."""

    def epoch(self, epoch: "Epoch", *, best: bool) -> None:
        """An epoch is done. `best`: its model is the best so far and was saved."""


_current: ContextVar[Progress] = ContextVar("progress", default=Progress())  # noqa: B039


def current() -> Progress:
    """The receiver of progress in this context. The default ignores it."""
    return _current.get()


@contextlib.contextmanager
def shown_by(progress: Progress) -> Iterator[None]:
    """Send all progress to `progress` until the block ends."""
    token = _current.set(progress)
    try:
        yield
    finally:
        _current.reset(token)
