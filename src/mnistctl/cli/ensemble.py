"""`mnistctl ensemble`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.filesize import decimal
from rich.text import Text

from mnistctl.cli import display, render
from mnistctl.cli.completion import complete_models
from mnistctl.cli.options import (
    CustomClassesOption,
    DataDirOption,
    ForceOption,
    JsonOption,
    QuietOption,
)

if TYPE_CHECKING:
    from mnistctl.api.ensemble import EnsembleFile


def ensemble(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL",
            help="Two or more models: files, run folders, names of runs, or 'bundled'.",
            autocompletion=complete_models,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Model file to write.")
    ] = Path("ensemble.safetensors"),
    force: ForceOption = False,
    arch: CustomClassesOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Combine models into one file that averages their probabilities."""
    import mnistctl

    with display.live(quiet=quiet):
        result = mnistctl.ensemble(
            models, output=output, force=force, arch=arch or (), data_dir=data_dir
        )
    render.show(result, _render, as_json=as_json, quiet=quiet)


def _render(result: "EnsembleFile") -> Iterator[RenderableType]:
    details = f"{len(result.members)} models, {result.parameters:,} parameters, {decimal(result.bytes)}"
    yield Text.assemble((result.path, "bold"), f"  {details}")
    if result.validation_accuracy is not None:
        yield (
            f"validation accuracy {render.percent(result.validation_accuracy)}, "
            f"loss {result.calibrated_validation_loss:.4f}"
        )
    path = render.quoted(result.path)
    yield render.NEXT
    yield f"  mnistctl eval {path}"
    yield f"  mnistctl export {path}"
