"""`train_seeds`: one training run after another, that differ in their seed alone."""

import logging
import statistics
from dataclasses import asdict, dataclass
from typing import Any

from mnistctl.api.train import TrainResult, train
from mnistctl.api.training import run_settings
from mnistctl.errors import UsageError
from mnistctl.run import run_folder
from mnistctl.system import torchrun

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SeedsResult:
    """What one recipe came to with several seeds, one run each.

    Means and sample standard deviations are over the runs; None without validation images.
    """

    runs: list[TrainResult]
    mean_validation_accuracy: float | None
    std_validation_accuracy: float | None
    mean_train_seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def train_seeds(
    seeds: int, arch: str | None = None, *, name: str | None = None, **options: Any
) -> SeedsResult:
    """Train so many runs that differ in their seed alone: the one given, and those after it.

    Args:
        seeds: how many, 1 or more.
        arch: see `train`.
        name: the runs are called `<name>-seed<seed>`; None: names that are free.
        options: see `train`.

    Raises:
        UsageError: `seeds` is below 1, and what `train` raises.
    """
    if seeds < 1:
        raise UsageError(f"--seeds {seeds}: expected 1 or more")
    chosen, _, _ = run_settings.choose(options.get("config"), {"seed": options.pop("seed", None)})
    numbers = range(chosen.seed, chosen.seed + seeds)
    names = [None if name is None else f"{name}-seed{number}" for number in numbers]
    for each in names:
        if each is not None and torchrun.is_leader():
            run_folder.check_new(each)
    found = []
    for number, each in zip(numbers, names, strict=True):
        found.append(train(arch, seed=number, name=each, **options))
        # Said at once: another one may fail.
        _log.info(f"seed {number}: {found[-1].run}")
    accuracies = [
        result.validation_accuracy for result in found if result.validation_accuracy is not None
    ]
    return SeedsResult(
        runs=found,
        mean_validation_accuracy=statistics.fmean(accuracies) if accuracies else None,
        std_validation_accuracy=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        mean_train_seconds=statistics.fmean(result.train_seconds for result in found),
    )
