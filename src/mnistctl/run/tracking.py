"""Metrics for tools that people watch training with, besides the `metrics.jsonl` of every run."""

import contextlib
import importlib.util
import json
from collections.abc import Iterator
from typing import Any

from mnistctl.errors import MissingExtraError, unknown_name
from mnistctl.run.epoch import Epoch
from mnistctl.run.run_folder import Run
from mnistctl.settings.train_settings import TrainSettings

TRACKERS = ("tensorboard",)


class Tracker:
    """Hears of every epoch and writes nothing."""

    def epoch(self, epoch: Epoch) -> None:
        """An epoch is over."""


class _TensorBoard(Tracker):
    """Scalars by epoch, and the settings with what they came to."""

    def __init__(self, writer: Any, config: TrainSettings) -> None:
        self._writer = writer
        self._config = config

    def epoch(self, epoch: Epoch) -> None:
        """See `Tracker.epoch`."""
        figures = {
            "loss/train": epoch.train_loss,
            "loss/validation": epoch.validation_loss,
            "accuracy/train": epoch.train_accuracy,
            "accuracy/validation": epoch.validation_accuracy,
            "learning_rate": epoch.learning_rate,
        }
        for name, value in figures.items():
            if value is not None:
                self._writer.add_scalar(name, value, epoch.epoch)
        self._writer.flush()


def check(track: str | None) -> None:
    """Check that a tracker is known and installed, before any work is done; None is none.

    Raises:
        UsageError: it is unknown.
        MissingExtraError: it is not installed.
    """
    if track is None:
        return
    if track not in TRACKERS:
        raise unknown_name("tracker", track, TRACKERS)
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingExtraError(
            f"--track {track}: not installed; it comes with pip install 'mnistctl[track]'"
        )


@contextlib.contextmanager
def open_tracker(track: str | None, run: Run, config: TrainSettings) -> Iterator[Tracker]:
    """The tracker of this name, writing into the run's folder; see `check`."""
    if track is None:
        yield Tracker()
        return
    from torch.utils.tensorboard import SummaryWriter  # 1 s

    settings = json.dumps(config.to_json(), indent=2)
    with SummaryWriter(str(run.folder / track)) as writer:
        writer.add_text("config", f"```\n{settings}\n```")
        yield _TensorBoard(writer, config)
