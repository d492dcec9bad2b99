"""`mnistctl train`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from mnistctl.cli import display, render, train_options
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
from mnistctl.settings import architectures
from mnistctl.system import torchrun

if TYPE_CHECKING:
    from mnistctl.api.train import TrainResult
    from mnistctl.api.train_seeds import SeedsResult

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
    precision: train_options.Precision = None,
    epochs: train_options.Epochs = None,
    min_steps: train_options.MinSteps = None,
    patience: train_options.Patience = None,
    batch_size: train_options.BatchSize = None,
    optimizer: train_options.Optimizer = None,
    learning_rate: train_options.LearningRate = None,
    momentum: train_options.Momentum = None,
    nesterov: train_options.Nesterov = None,
    beta2: train_options.Beta2 = None,
    weight_decay: train_options.WeightDecay = None,
    clip_norm: train_options.ClipNorm = None,
    schedule: train_options.Schedule = None,
    warmup: train_options.Warmup = None,
    step_epochs: train_options.StepEpochs = None,
    gamma: train_options.Gamma = None,
    label_smoothing: train_options.LabelSmoothing = None,
    ema: train_options.Ema = None,
    seed: train_options.Seed = None,
    hidden: train_options.Hidden = None,
    dropout: train_options.Dropout = None,
    batch_norm: train_options.BatchNorm = None,
    widths: train_options.Widths = None,
    kernels: train_options.Kernels = None,
    strides: train_options.Strides = None,
    pools: train_options.Pools = None,
    same_padding: train_options.SamePadding = None,
    conv_dropout: train_options.ConvDropout = None,
    rotate: train_options.Rotate = None,
    scale: train_options.Scale = None,
    shear: train_options.Shear = None,
    shift: train_options.Shift = None,
    elastic: train_options.Elastic = None,
    thickness: train_options.Thickness = None,
    noise: train_options.Noise = None,
    erase: train_options.Erase = None,
    subset: train_options.Subset = None,
    validation_size: train_options.ValidationSize = None,
    split_seed: train_options.SplitSeed = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a digit reader; the best model on validation is kept in runs/NAME.

    Settings that are not given are the recipe's, which 'mnistctl recipes --json' shows.
    """
    import mnistctl

    options = train_options.given(
        {key: value for key, value in context.params.items() if key not in _OTHERS}
    )
    with display.live(quiet=quiet):
        if seeds != 1 and resume is not None:
            raise UsageError("--resume and --seeds: choose one")
        if seeds != 1:
            series = mnistctl.train_seeds(seeds, **options)
        else:
            result = mnistctl.train(**options)
    if not torchrun.is_leader():
        return
    if seeds != 1:
        render.show(series, _render_seeds, as_json=as_json)
    else:
        render.show(result, _render, as_json=as_json)


def _render(result: "TrainResult") -> Iterator[RenderableType]:
    together = f" × {result.processes}" if result.processes > 1 else ""
    yield (
        f"\n{result.arch} ({result.parameters:,} parameters) on {result.dataset}, {result.device}"
        f"{together}, {result.precision}: trained in {result.train_seconds:.1f} s"
    )
    if result.validation_accuracy is not None:
        yield (
            f"validation accuracy {render.percent(result.validation_accuracy)} "
            f"after epoch {result.best_epoch}"
        )
    yield Text.assemble("saved in ", (result.run, "bold"))
    if result.pictures:
        yield f"pictures: {', '.join(Path(picture).name for picture in result.pictures)}"
    own = f" --arch {result.arch}" if architectures.custom_source(result.arch) else ""
    yield "\nnext:"
    yield f"  mnistctl eval {result.run}{own}"
    yield f"  mnistctl predict digit.png --model {result.run}{own}"
    yield f"  mnistctl export {result.run}{own}"


def _render_seeds(series: "SeedsResult") -> Iterator[RenderableType]:
    table = render.table("\nrun", "\nseed", "validation\naccuracy", "\nseconds")
    for result in series.runs:
        accuracy = render.percent(result.validation_accuracy)
        table.add_row(result.run, str(result.seed), accuracy, f"{result.train_seconds:.1f}")
    yield table
    if series.mean_validation_accuracy is not None:
        spread = render.percent(series.std_validation_accuracy)
        yield (
            f"\nvalidation accuracy {render.percent(series.mean_validation_accuracy)} mean of "
            f"{len(series.runs)} seeds, standard deviation {spread}"
        )
