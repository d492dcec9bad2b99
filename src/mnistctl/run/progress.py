"""Progress of long operations: the library reports it, a user interface shows it.

Text messages are not part of this. The library logs them, under the logger "mnistctl".
"""

import contextlib
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnistctl.run.epoch import Epoch


_log = logging.getLogger(__name__)


class Progress:
    """Receives progress. A subclass overrides the methods whose progress it shows.

    Without one, the epochs are logged and the rest is ignored.
    """

    def download(self, file: str, received: int, total: int | None) -> None:
        """`received` of `total` bytes of a file have arrived; `total` may be unknown."""

    def advance(self, task: str, done: int, total: int) -> None:
        """`done` of `total` units of a task are done."""

    def training(self, images: int, epochs: int) -> None:
        """Training begins and will process `images` images in total, in `epochs` epochs."""

    def step(self, images: int) -> None:
        """A training step is done. `images` images have been processed so far."""

    def epoch(self, epoch: "Epoch", *, best: bool) -> None:
        """An epoch is done. `best`: its model is the best so far and was saved."""
        metrics = f"epoch {epoch.epoch}: train loss {epoch.train_loss:.4g}"
        if epoch.validation_loss is not None and epoch.validation_accuracy is not None:
            metrics += (
                f", validation loss {epoch.validation_loss:.4g}, accuracy "
                f"{100 * epoch.validation_accuracy:.2f}%"
            )
        _log.info(metrics)

    def trained(self) -> None:
        """Training has ended."""


_current: ContextVar[Progress] = ContextVar("progress", default=Progress())  # noqa: B039


def current() -> Progress:
    """The receiver of progress in this context. The default logs epochs and ignores the rest."""
    return _current.get()


@contextlib.contextmanager
def shown_by(progress: Progress) -> Iterator[None]:
    """Send all progress to `progress` until the block ends."""
    token = _current.set(progress)
    try:
        yield
    finally:
        _current.reset(token)
