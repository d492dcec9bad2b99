"""`runs`, `recipes` and `archs`: list them; `recipe` describes one."""

import logging
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mnistctl.errors import ModelError, UsageError, look_up, unknown_name
from mnistctl.run import run_folder
from mnistctl.run.epoch import Epoch
from mnistctl.settings import architectures
from mnistctl.settings.recipes import Recipe, find_recipe, measured_runs, read_all
from mnistctl.settings.train_settings import SETTINGS, TrainSettings, check
from mnistctl.types import Result

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunInfo(Result):
    """A run in `runs/`, and the metrics of its saved model."""

    name: str  # of the run folder
    status: str  # finished, interrupted (it can be resumed) or training
    recipe: str | None  # null: no recipe
    arch: str  # architecture
    dataset: str  # name or folder
    seed: int  # of the run
    epochs: int  # number of epochs started
    planned_epochs: int | None  # number of epochs of the whole run; null: not known yet
    best_epoch: int  # the epoch of the saved model
    validation_accuracy: float | None  # of the saved model, in [0, 1]; null: no validation images
    validation_loss: float | None  # of the saved model, before calibration; null: no validation images
    train_seconds: float  # training time
    folder: str  # path of the run folder
    settings: dict[str, Any]  # all settings of the run


def runs(*, sort: str | None = None) -> list[RunInfo]:
    """List the runs that have a model. A damaged run is left out with a warning.

    Args:
        sort: a field of `RunInfo` or a setting: lowest first, of accuracies highest first. Runs without
            a value come last. None: newest first.

    Raises:
        UsageError: there is no such field or setting.
    """
    rows = []
    for run in reversed(run_folder.find_all()):
        try:
            rows.append(_run_info(run))
        except ModelError as error:
            _log.warning(str(error))
    if sort is not None:
        check_column(sort)
        rows.sort(key=lambda row: _sort_key(column(row, sort), descending=sort.endswith("_accuracy")))
    return rows


def column(run: RunInfo, name: str) -> Any:
    """A field of a run, a setting, or an argument of its net; None: it has no such setting."""
    fields = {**run.settings.get("arch_args", {}), **run.settings, **vars(run)}
    return fields.get(name)


def check_column(name: str) -> None:
    """Check the name of a field of `RunInfo`, a setting, or an argument of a net.

    Raises:
        UsageError: the name is unknown; the message suggests a similar one.
    """
    names = [*RunInfo.__dataclass_fields__, *SETTINGS, *architectures.ARGUMENTS]
    if name not in names:
        raise unknown_name("column", name, names)


def _sort_key(value: Any, *, descending: bool) -> tuple[bool, float, str]:
    number = value if isinstance(value, int | float) else 0.0
    return value is None, -number if descending else number, str(value)


def _run_info(run: run_folder.Run) -> RunInfo:
    config, epochs = run.read_config(), run.read_metrics()
    is_finished = run.result_path.is_file()
    # The model of an epoch that was interrupted is saved only if there is no other.
    saved = [epoch for epoch in epochs if epoch.finished or is_finished] or epochs
    best = saved[0]
    for epoch in saved:
        best = epoch if epoch.is_better_than(best) else best
    interrupted = "interrupted" if run.is_interrupted() else "training"
    try:
        check(config)
        return RunInfo(
            name=run.folder.name,
            status="finished" if is_finished else interrupted,
            recipe=config.get("recipe"),
            arch=config["arch"],
            dataset=config["dataset"],
            seed=config["seed"],
            epochs=epochs[-1].epoch,
            planned_epochs=_planned_epochs(config, epochs[0]),
            best_epoch=best.epoch,
            validation_accuracy=best.validation_accuracy,
            validation_loss=best.validation_loss,
            train_seconds=epochs[-1].train_seconds,
            folder=str(run.folder),
            settings=config,
        )
    except (KeyError, UsageError) as error:
        raise ModelError(f"{run.config_path}: not the settings of a run ({error})") from error


def _planned_epochs(config: Mapping[str, Any], first: Epoch) -> int | None:
    """The number of epochs of a whole run; None: its first epoch is not finished."""
    if not first.finished:
        return None
    steps: int = max(config["min_steps"], math.ceil(config["epochs"] * first.steps))
    return math.ceil(steps / first.steps)


@dataclass(frozen=True)
class RecipeInfo(Result):
    """A recipe, and its accuracies on MNIST over several seeds.

    Accuracies are in [0, 1]; None: not measured with the present settings.
    """

    name: str  # as in --recipe
    summary: str  # one line
    system: str  # the published system that it reproduces; empty: none
    published: str  # what the authors of the system reported; empty: not a published system
    deviation: str  # where it differs from the published system, and why; empty: nowhere
    seeds: int  # number of seeds measured
    mean_test_accuracy: float | None  # in [0, 1]; null: not measured
    std_test_accuracy: float | None  # standard deviation; null: fewer than two seeds
    mean_train_accuracy: float | None  # in [0, 1]; null: not measured
    mean_validation_accuracy: float | None  # in [0, 1]; null: not measured
    settings: dict[str, Any]  # all settings of the run
    changed: list[str]  # the settings that differ from the defaults


def recipe(name: str) -> RecipeInfo:
    """Describe a recipe: what it reproduces, how accurate it is, and its settings.

    Raises:
        UsageError: the recipe is unknown; the message names the nearest.
    """
    return _recipe_info(name, look_up("recipe", name, read_all()))


def recipes() -> list[RecipeInfo]:
    """List the recipes, with the accuracies that `scripts/measure_recipes.py` measured."""
    return [_recipe_info(name, recipe) for name, recipe in read_all().items()]


def _recipe_info(name: str, recipe: Recipe) -> RecipeInfo:
    rows = measured_runs(name)
    settings = find_recipe(name).to_json()

    def mean(metric: str) -> float | None:
        return statistics.fmean(row[metric] for row in rows) if rows else None

    return RecipeInfo(
        name=name,
        summary=recipe.summary,
        system=recipe.system,
        published=recipe.published,
        deviation=recipe.deviation,
        seeds=len(rows),
        mean_test_accuracy=mean("test_accuracy"),
        std_test_accuracy=(
            statistics.stdev(row["test_accuracy"] for row in rows) if len(rows) > 1 else None
        ),
        mean_train_accuracy=mean("train_accuracy"),
        mean_validation_accuracy=mean("validation_accuracy"),
        settings=settings,
        changed=_changed(settings),
    )


def _changed(settings: dict[str, Any]) -> list[str]:
    """The names of the settings, and of the arguments of the net, that differ from the defaults."""
    defaults = TrainSettings(arch=settings["arch"]).to_json()
    pairs = ((settings, defaults), (settings["arch_args"], defaults["arch_args"]))
    return [
        name
        for values, default_values in pairs
        for name, value in values.items()
        if value != default_values[name] and name not in ("recipe", "arch_args")
    ]


@dataclass(frozen=True)
class ArchInfo(Result):
    """An architecture with its default arguments, for 10 classes."""

    name: str  # as in --arch
    summary: str  # one line; empty for torchvision's nets
    arguments: dict[str, Any]  # name -> default
    task: str  # digit: classifies an image; numbers: finds the digits on a page
    input_size: int  # height and width in pixels; the model enlarges its images to it; of a page: any
    parameters: int  # number of parameters
    multiply_adds: int  # for one image of the input size


def archs() -> list[ArchInfo]:
    """List the named architectures."""
    rows = []
    for name, size in architectures.sizes().items():
        net = architectures.ARCHITECTURES.get(name)
        summary = net.summary if net else ""
        arguments = architectures.to_json(net.arguments) if net else {}
        rows.append(ArchInfo(name, summary, arguments, architectures.task_of(name), *size))
    return rows
