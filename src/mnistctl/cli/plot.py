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
            metavar="RUN",
            help="Run folders or names of runs.",
            autocompletion=complete_runs,
            show_default="the newest run",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="PNG file for the learning curves of several runs.",
            show_default="runs/curves.png, which is replaced",
        ),
    ] = None,
    arch: CustomClassesOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Redraw the plots of runs and overlay the learning curves of several runs."""
    import mnistctl

    with display.live(quiet=quiet):
        result = mnistctl.plot(runs or (), output=output, arch=arch or (), data_dir=data_dir)
    render.show(result, lambda result: result.plots, as_json=as_json)
