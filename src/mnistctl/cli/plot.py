"""`mnistctl plot`."""

from pathlib import Path
from typing import Annotated

import typer

from mnistctl.cli import display, render
from mnistctl.cli.options import (
    CustomClassesOption,
    DataDirOption,
    JsonOption,
    QuietOption,
    complete_runs,
)


def plot(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Run folders, or names of runs; without any: the newest run here.",
            autocompletion=complete_runs,
        ),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The curves of several runs.", show_default="runs/curves.png"
        ),
    ] = None,
    arch: CustomClassesOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Draw runs' pictures anew, and the curves of several over one another."""
    import mnistctl

    with display.live(quiet=quiet):
        plotted = mnistctl.plot(runs or (), output=path, arch=arch or (), data_dir=data_dir)
    render.show(plotted, lambda result: result.pictures, as_json=as_json)
