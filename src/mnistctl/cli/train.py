"""`mnistctl train`."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from mnistctl.cli import display, render
from mnistctl.cli.completion import complete_runs, complete_trackers
from mnistctl.cli.options import (
    DataDirOption,
    JsonOption,
    NoPlotsOption,
    QuietOption,
    plots_choice,
    plots_option,
)
from mnistctl.cli.train_options import ArchArgumentOption, parse_arguments, with_settings
from mnistctl.errors import UsageError
from mnistctl.settings.architectures import NUMBERS, Architecture, task_of
from mnistctl.settings.setting import Panel
from mnistctl.system import torchrun

if TYPE_CHECKING:
    from mnistctl.api.train import SeedsResult, TrainResult


@with_settings(Panel.RUN.value)
def train(
    *,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the run folder in runs/.",
            show_default="DATASET-RECIPE-NUMBER",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings file: TOML, or the config.json of a run."),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Run to resume: its name or folder. --epochs sets a new total number of epochs.",
            autocompletion=complete_runs,
        ),
    ] = None,
    save_every: Annotated[
        str,
        typer.Option(
            metavar="INTERVAL",
            help="How often to save the training state within an epoch: 200steps, 30s, 5m or 1h.",
        ),
    ] = "1m",
    seeds: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Train this many runs with consecutive seeds, 1 to 1,000, and report the mean and "
            "standard deviation of the validation accuracy.",
        ),
    ] = 1,
    plots: Annotated[Path | None, plots_option("the run folder")] = None,
    no_plots: NoPlotsOption = False,
    track: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=complete_trackers,
            help="Also log settings, metrics, plots and the model to this tracker: tensorboard, mlflow "
            "or wandb; several are separated by commas.",
        ),
    ] = None,
    arch_arg: ArchArgumentOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    **settings: Any,
) -> None:
    """Train a model.

    The model with the best validation accuracy is saved in runs/NAME. A recipe supplies the settings,
    a settings file overrides the recipe, and options override both. 'mnistctl recipes NAME' shows the
    settings of a recipe.
    """
    import mnistctl

    if seeds != 1 and resume is not None:
        raise UsageError("--resume and --seeds: choose one")
    options = settings | {
        "name": name,
        "config": config,
        "resume": resume,
        "save_every": save_every,
        "plots": plots_choice(plots, no_plots),
        "track": track,
        "data_dir": data_dir,
        "arch_args": parse_arguments(arch_arg),
    }
    with display.live(quiet=quiet):
        if seeds == 1:
            result = mnistctl.train(**options)
        else:
            series = mnistctl.train_seeds(seeds, **options)
    if not torchrun.is_leader():
        return
    if seeds == 1:
        render.show(result, functools.partial(_render, quiet=quiet), as_json=as_json)
    else:
        render.show(series, _render_seeds, as_json=as_json)


def _render(result: "TrainResult", *, quiet: bool) -> Iterator[RenderableType]:
    processes = f" × {result.processes}" if result.processes > 1 else ""
    summary = (
        f"{result.arch} ({result.parameters:,} parameters) on {result.dataset}, {result.device}"
        f"{processes}, {result.precision}: trained in {result.train_seconds:.1f} s"
    )
    yield summary if quiet else f"\n{summary}"
    accuracy, chance = result.validation_accuracy, result.chance_accuracy
    if accuracy is not None:
        yield f"validation accuracy {render.percent(accuracy)} after epoch {result.best_epoch}"
    yield Text.assemble("saved in ", (result.run, "bold"))
    if result.plots:
        yield f"plots: {', '.join(Path(path).name for path in result.plots)}"
    if accuracy is not None and chance is not None and accuracy <= chance:
        yield (
            f"no better than always predicting the most frequent class ({render.percent(chance)}); "
            "try a lower --learning-rate, or more --epochs"
        )
    elif not quiet:
        yield from _next_commands(result)


def _next_commands(result: "TrainResult") -> Iterator[str]:
    run = render.quoted(result.run)
    is_custom = Architecture.parse(result.arch).is_custom
    arch = f" --arch {render.quoted(result.arch)}" if is_custom else ""
    splits = "train,test" if result.validation_accuracy is None else "train,validation,test"
    yield "\nnext:"
    yield f"  mnistctl eval {run}{arch}"
    yield f"  mnistctl eval {run}{arch} --split {splits}"
    if task_of(result.arch) == NUMBERS:
        yield f"  mnistctl predict number.png --numbers --numbers-model {run}"
    else:
        yield f"  mnistctl predict digit.png --model {run}{arch}"
    yield f"  mnistctl export {run}{arch}"


def _render_seeds(series: "SeedsResult") -> Iterator[RenderableType]:
    table = render.table("\nrun", "\nseed", "validation\naccuracy", "\nseconds")
    for result in series.runs:
        accuracy = render.percent(result.validation_accuracy)
        table.add_row(result.run, str(result.seed), accuracy, f"{result.train_seconds:.1f}")
    yield table
    if series.mean_validation_accuracy is not None:
        mean = render.percent(series.mean_validation_accuracy)
        deviation = render.percent(series.std_validation_accuracy)
        yield (
            f"\nvalidation accuracy {mean} (mean of {len(series.runs)} seeds, standard deviation "
            f"{deviation})"
        )
