"""`mnistctl train`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from mnistctl.cli import output, watching
from mnistctl.cli.options import (
    ArchOption,
    DataDirOption,
    JsonOption,
    QuietOption,
    complete_runs,
    dataset_option,
)

if TYPE_CHECKING:
    from mnistctl.workflows.training import TrainResult

_RECIPE = "the recipe's"


def train(
    arch: ArchOption = None,
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
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", show_default="auto")
    ] = None,
    epochs: Annotated[
        float | None,
        typer.Option(help="Passes over the images; a fraction is fine.", show_default=_RECIPE),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step.", show_default=_RECIPE)] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak of the schedule.", show_default=_RECIPE)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of weights, order and dropout.", show_default=_RECIPE)
    ] = None,
    validation_size: Annotated[
        int | None, typer.Option(help="Images held out of train.", show_default="1 in 12")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the folder in runs/.", show_default="one that is free")
    ] = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a digit reader; the best model on validation is kept in runs/NAME."""
    from mnistctl import workflows

    with watching.watcher(quiet=quiet) as watcher:
        result = workflows.train(
            arch,
            dataset=dataset,
            init=init,
            device=device,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
            validation_size=validation_size,
            name=name,
            data_dir=data_dir,
            watcher=watcher,
        )
    output.show(result, _render, as_json=as_json)


def _render(result: "TrainResult") -> Iterator[RenderableType]:
    yield (
        f"\n{result.arch} ({result.parameters:,} parameters) on {result.dataset}, {result.device}, "
        f"{result.precision}: trained in {result.train_seconds:.1f} s"
    )
    if result.validation_accuracy is not None:
        yield (
            f"validation accuracy {output.percent(result.validation_accuracy)} "
            f"after epoch {result.best_epoch}"
        )
    yield Text.assemble("saved in ", (result.run, "bold"), "\n")
    yield "next:"
    yield f"  mnistctl eval {result.run}"
    yield f"  mnistctl predict digit.png --model {result.run}"
    yield f"  mnistctl export {result.run}"
