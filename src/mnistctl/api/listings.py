"""`runs`, `recipes` and `archs`: what there is."""

import logging
import statistics
from dataclasses import asdict, dataclass
from typing import Any

from mnistctl.errors import ModelError, UsageError
from mnistctl.run import run_folder
from mnistctl.settings import architectures
from mnistctl.settings.recipes import RECIPES, Recipe, find_recipe, measured_runs
from mnistctl.settings.train_settings import check_types

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunInfo:
    """A run here, and what its saved model came to."""

    name: str
    recipe: str | None
    arch: str
    dataset: str
    seed: int
    epochs: int  # begun
    best_epoch: int
    validation_accuracy: float | None
    train_seconds: float
    folder: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def runs() -> list[RunInfo]:
    """The runs here that have a model, the newest first; a damaged one is warned of and left out."""
    listed = []
    for run in reversed(run_folder.find_all()):
        try:
            listed.append(_listed(run))
        except ModelError as error:
            _log.warning(str(error))
    return listed


def _listed(run: run_folder.Run) -> RunInfo:
    config, epochs = run.read_config(), run.read_metrics()
    best = epochs[0]
    for epoch in epochs:
        best = epoch if epoch.is_better_than(best) else best
    try:
        check_types(config)
        return RunInfo(
            name=run.folder.name,
            recipe=config.get("recipe"),
            arch=config["arch"],
            dataset=config["dataset"],
            seed=config["seed"],
            epochs=epochs[-1].epoch,
            best_epoch=best.epoch,
            validation_accuracy=best.validation_accuracy,
            train_seconds=epochs[-1].train_seconds,
            folder=str(run.folder),
        )
    except (KeyError, UsageError) as error:
        raise ModelError(f"{run.config_path}: not the settings of a run ({error})") from error


@dataclass(frozen=True)
class RecipeInfo:
    """A recipe, what its authors published, and what it was measured to do here.

    Accuracies are in [0, 1], over the seeds measured; None: not measured as it stands.
    """

    name: str
    summary: str
    published: str
    seeds: int
    mean_test_accuracy: float | None
    std_test_accuracy: float | None  # of one seed: None
    mean_train_accuracy: float | None
    mean_validation_accuracy: float | None
    settings: dict[str, Any]  # all of TrainSettings

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def recipes() -> list[RecipeInfo]:
    """Every recipe, with the figures that `scripts/measure_recipes.py` has measured of it."""
    return [_recipe(name, recipe) for name, recipe in RECIPES.items()]


def _recipe(name: str, recipe: Recipe) -> RecipeInfo:
    rows = measured_runs(name)

    def mean(figure: str) -> float | None:
        return statistics.fmean(row[figure] for row in rows) if rows else None

    return RecipeInfo(
        name=name,
        summary=recipe.summary,
        published=recipe.published,
        seeds=len(rows),
        mean_test_accuracy=mean("test_accuracy"),
        std_test_accuracy=(
            statistics.stdev(row["test_accuracy"] for row in rows) if len(rows) > 1 else None
        ),
        mean_train_accuracy=mean("train_accuracy"),
        mean_validation_accuracy=mean("validation_accuracy"),
        settings=find_recipe(name).to_json(),
    )


@dataclass(frozen=True)
class ArchInfo:
    """An architecture as it comes, for 10 classes."""

    name: str
    summary: str
    arguments: dict[str, Any]  # with their defaults
    input_size: int  # pixels both ways, to which the model itself enlarges its images
    parameters: int
    multiply_adds: int  # for one image

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def archs() -> list[ArchInfo]:
    """Every architecture that has a name here."""
    listed = []
    for name, size in architectures.sizes().items():
        known = architectures.ARCHITECTURES.get(name)
        summary = known.summary if known else ""
        arguments = architectures.to_json(known.arguments) if known else {}
        listed.append(ArchInfo(name, summary, arguments, *size))
    return listed
