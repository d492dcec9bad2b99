"""`mnistctl ensemble`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from mnistctl.cli import display, render
from mnistctl.cli.options import (
    CustomClassesOption,
    DataDirOption,
    ForceOption,
    JsonOption,
    QuietOption,
    complete_runs,
)

if TYPE_CHECKING:
    from mnistctl.api.ensemble import EnsembleFile


def ensemble(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Two models or more: files, run folders or names of runs.",
            autocompletion=complete_runs,
        ),
    ],
    path: Annotated[Path, typer.Option("--output", "-o", help="The file.")] = Path(
        "ensemble.safetensors"
    ),
    force: ForceOption = False,
    arch: CustomClassesOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Join models into one, whose probabilities are the mean of theirs."""
    import mnistctl

    with display.live(quiet=quiet):
        joined = mnistctl.ensemble(
            models,
            output=path,
            force=force,
            arch=arch or (),
            data_dir=data_dir,
        )
    render.show(joined, _render, as_json=as_json)


def _render(joined: "EnsembleFile") -> Iterator[RenderableType]:
    about = f"  {len(joined.members)} models, {joined.parameters:,} parameters, "
    yield Text.assemble((joined.path, "bold"), about, render.size(joined.bytes))
    if joined.validation_accuracy is not None:
        yield (
            f"validation accuracy {render.percent(joined.validation_accuracy)}, "
            f"loss {joined.validation_loss:.4f}"
        )
    yield "\nnext:"
    yield f"  mnistctl eval {joined.path}"
    yield f"  mnistctl export {joined.path}"
