"""Trackers write the metrics for other tools, in addition to the `metrics.jsonl` of every run."""

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
    """Writes nothing; a subclass writes what its tool shows."""

    def epoch(self, epoch: Epoch) -> None:
        """Write the metrics of an epoch."""


class _TensorBoard(Tracker):
    """Writes the metrics as scalars by epoch."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def epoch(self, epoch: Epoch) -> None:
        """See `Tracker.epoch`."""
        metrics = {
            "loss/train": epoch.train_loss,
            "loss/validation": epoch.validation_loss,
            "accuracy/train": epoch.train_accuracy,
            "accuracy/validation": epoch.validation_accuracy,
            "learning_rate": epoch.learning_rate,
        }
        for name, value in metrics.items():
            if value is not None:
                self._writer.add_scalar(name, value, epoch.epoch)
        self._writer.flush()


def check(track: str | None) -> None:
    """Check that a tracker exists and is installed; None: no tracker.

    Raises:
        UsageError: the tracker is unknown.
        MissingExtraError: it is not installed.
    """
    if track is None:
        return
    if track not in TRACKERS:
        raise unknown_name("tracker", track, TRACKERS)
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingExtraError(
            f"--track {track}: not installed; install it with: pip install 'mnistctl[track]'"
        )


@contextlib.contextmanager
def open_tracker(track: str | None, run: Run, settings: TrainSettings) -> Iterator[Tracker]:
    """The tracker of this name, which writes into the run folder; see `check`."""
    if track is None:
        yield Tracker()
        return
    from torch.utils.tensorboard import SummaryWriter  # 1 s

    config = json.dumps(settings.to_json(), indent=2)
    with SummaryWriter(str(run.folder / track)) as writer:
        writer.add_text("config", f"```\n{config}\n```")
        yield _TensorBoard(writer)
