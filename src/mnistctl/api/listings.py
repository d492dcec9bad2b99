"""`runs`, `recipes` and `archs`: list them."""

import logging
import statistics
from dataclasses import dataclass
from typing import Any

from mnistctl.errors import ModelError, UsageError
from mnistctl.run import run_folder
from mnistctl.settings import architectures
from mnistctl.settings.recipes import Recipe, find_recipe, measured_runs, read_all
from mnistctl.settings.train_settings import check
from mnistctl.types import Result

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunInfo(Result):
    """A run in `runs/`, and the metrics of its saved model."""

    name: str  # of the run folder
    recipe: str | None  # null: no recipe
    arch: str  # architecture
    dataset: str  # name or folder
    seed: int  # of the run
    epochs: int  # number of epochs started
    best_epoch: int  # the epoch of the saved model
    validation_accuracy: float | None  # of the saved model, in [0, 1]; null: no validation images
    train_seconds: float  # training time
    folder: str  # path of the run folder


def runs() -> list[RunInfo]:
    """List the runs that have a model, newest first. A damaged run is left out with a warning."""
    rows = []
    for run in reversed(run_folder.find_all()):
        try:
            rows.append(_run_info(run))
        except ModelError as error:
            _log.warning(str(error))
    return rows


def _run_info(run: run_folder.Run) -> RunInfo:
    config, epochs = run.read_config(), run.read_metrics()
    best = epochs[0]
    for epoch in epochs:
        best = epoch if epoch.is_better_than(best) else best
    try:
        check(config)
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
class RecipeInfo(Result):
    """A recipe, and its accuracies on MNIST over several seeds.

    Accuracies are in [0, 1]; None: not measured with the present settings.
    """

    name: str  # as in --recipe
    summary: str  # one line
    published: str  # what the authors of the system reported; empty: not a published system
    seeds: int  # number of seeds measured
    mean_test_accuracy: float | None  # in [0, 1]; null: not measured
    std_test_accuracy: float | None  # standard deviation; null: fewer than two seeds
    mean_train_accuracy: float | None  # in [0, 1]; null: not measured
    mean_validation_accuracy: float | None  # in [0, 1]; null: not measured
    settings: dict[str, Any]  # all settings of the run


def recipes() -> list[RecipeInfo]:
    """List the recipes, with the accuracies that `scripts/measure_recipes.py` measured."""
    return [_recipe_info(name, recipe) for name, recipe in read_all().items()]


def _recipe_info(name: str, recipe: Recipe) -> RecipeInfo:
    rows = measured_runs(name)

    def mean(metric: str) -> float | None:
        return statistics.fmean(row[metric] for row in rows) if rows else None

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
class ArchInfo(Result):
    """An architecture with its default arguments, for 10 classes."""

    name: str  # as in --arch
    summary: str  # one line; empty for torchvision's nets
    arguments: dict[str, Any]  # name -> default
    input_size: int  # height and width in pixels; the model enlarges its images to it
    parameters: int  # number of parameters
    multiply_adds: int  # for one image


def archs() -> list[ArchInfo]:
    """List the named architectures."""
    rows = []
    for name, size in architectures.sizes().items():
        net = architectures.ARCHITECTURES.get(name)
        summary = net.summary if net else ""
        arguments = architectures.to_json(net.arguments) if net else {}
        rows.append(ArchInfo(name, summary, arguments, *size))
    return rows
