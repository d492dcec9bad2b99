"""`mnistctl train`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from mnistctl import architectures, torchrun
from mnistctl.cli import output, settings, watching
from mnistctl.cli.options import (
    ArchOption,
    DataDirOption,
    JsonOption,
    PlotsOption,
    QuietOption,
    complete_recipes,
    complete_runs,
    dataset_option,
)
from mnistctl.errors import UsageError

if TYPE_CHECKING:
    from mnistctl.workflows.repeating import SeedsResult
    from mnistctl.workflows.training import TrainResult

# What is not a setting of the run itself.
_OTHERS = ("seeds", "as_json", "quiet")


def train(
    context: typer.Context,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Settings by name; see 'mnistctl recipes'. Any option overrides them.",
            autocompletion=complete_recipes,
            show_default="the net's own",
        ),
    ] = None,
    arch: ArchOption = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings from a file: TOML, or the config.json of a run.")
    ] = None,
    dataset: Annotated[
        str | None, dataset_option("What to train on.", "mnist; digits where there is no network")
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Start from this model's weights: a file, a run folder or a run's name.",
            autocompletion=complete_runs,
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            help="Go on with a run that was cut short; with --epochs, to another length.",
            autocompletion=complete_runs,
        ),
    ] = None,
    save_every: Annotated[
        str | None,
        typer.Option(help="How often to save between epochs: 200steps, 30s, 5m.", show_default="1m"),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", show_default="auto")
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="Train so many runs, each with the next seed; show mean and spread.")
    ] = 1,
    name: Annotated[
        str | None, typer.Option(help="Of the folder in runs/.", show_default="one that is free")
    ] = None,
    plots: PlotsOption = True,
    track: Annotated[
        str | None, typer.Option(help="tensorboard: write for it besides, into the run's folder.")
    ] = None,
    precision: settings.Precision = None,
    epochs: settings.Epochs = None,
    min_steps: settings.MinSteps = None,
    patience: settings.Patience = None,
    batch_size: settings.BatchSize = None,
    optimizer: settings.Optimizer = None,
    learning_rate: settings.LearningRate = None,
    momentum: settings.Momentum = None,
    nesterov: settings.Nesterov = None,
    beta2: settings.Beta2 = None,
    weight_decay: settings.WeightDecay = None,
    clip_norm: settings.ClipNorm = None,
    schedule: settings.Schedule = None,
    warmup: settings.Warmup = None,
    step_epochs: settings.StepEpochs = None,
    gamma: settings.Gamma = None,
    label_smoothing: settings.LabelSmoothing = None,
    ema: settings.Ema = None,
    seed: settings.Seed = None,
    hidden: settings.Hidden = None,
    dropout: settings.Dropout = None,
    batch_norm: settings.BatchNorm = None,
    widths: settings.Widths = None,
    kernels: settings.Kernels = None,
    strides: settings.Strides = None,
    pools: settings.Pools = None,
    same_padding: settings.SamePadding = None,
    conv_dropout: settings.ConvDropout = None,
    rotate: settings.Rotate = None,
    scale: settings.Scale = None,
    shear: settings.Shear = None,
    shift: settings.Shift = None,
    elastic: settings.Elastic = None,
    thickness: settings.Thickness = None,
    noise: settings.Noise = None,
    erase: settings.Erase = None,
    subset: settings.Subset = None,
    validation_size: settings.ValidationSize = None,
    split_seed: settings.SplitSeed = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a digit reader; the best model on validation is kept in runs/NAME.

    Settings that are not given are the recipe's, which 'mnistctl recipes --json' shows.
    """
    from mnistctl import workflows

    options = settings.given(
        {key: value for key, value in context.params.items() if key not in _OTHERS}
    )
    with watching.watcher(quiet=quiet) as watcher:
        if seeds != 1 and resume is not None:
            raise UsageError("--resume and --seeds: choose one")
        if seeds != 1:
            series = workflows.train_seeds(seeds, **options, watcher=watcher)
        else:
            result = workflows.train(**options, watcher=watcher)
    if not torchrun.leads():
        return
    if seeds != 1:
        output.show(series, _render_seeds, as_json=as_json)
    else:
        output.show(result, _render, as_json=as_json)


def _render(result: "TrainResult") -> Iterator[RenderableType]:
    together = f" × {result.processes}" if result.processes > 1 else ""
    yield (
        f"\n{result.arch} ({result.parameters:,} parameters) on {result.dataset}, {result.device}"
        f"{together}, {result.precision}: trained in {result.train_seconds:.1f} s"
    )
    if result.validation_accuracy is not None:
        yield (
            f"validation accuracy {output.percent(result.validation_accuracy)} "
            f"after epoch {result.best_epoch}"
        )
    yield Text.assemble("saved in ", (result.run, "bold"))
    if result.pictures:
        yield f"pictures: {', '.join(Path(picture).name for picture in result.pictures)}"
    own = f" --arch {result.arch}" if architectures.own_source(result.arch) else ""
    yield "\nnext:"
    yield f"  mnistctl eval {result.run}{own}"
    yield f"  mnistctl predict digit.png --model {result.run}{own}"
    yield f"  mnistctl export {result.run}{own}"


def _render_seeds(series: "SeedsResult") -> Iterator[RenderableType]:
    table = output.table("\nrun", "\nseed", "validation\naccuracy", "\nseconds")
    for result in series.runs:
        accuracy = output.percent(result.validation_accuracy)
        table.add_row(result.run, str(result.seed), accuracy, f"{result.train_seconds:.1f}")
    yield table
    if series.mean_validation_accuracy is not None:
        spread = output.percent(series.std_validation_accuracy)
        yield (
            f"\nvalidation accuracy {output.percent(series.mean_validation_accuracy)} mean of "
            f"{len(series.runs)} seeds, standard deviation {spread}"
        )
