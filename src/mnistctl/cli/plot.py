"""`mnistctl plot`."""

from pathlib import Path
from typing import Annotated

import typer

from mnistctl.cli import display, render
from mnistctl.cli.completion import complete_runs
from mnistctl.cli.options import (
    CustomClassesOption,
    DataDirOption,
    JsonOption,
    QuietOption,
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
            help="File for the learning curves: .png, .svg or .pdf. Then nothing else is drawn.",
            show_default="runs/curves.png for several runs, else the run folder; both are replaced",
        ),
    ] = None,
    title: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Title of the learning curves.",
            show_default="the name of the run, or the number of runs",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT,...",
            help="Names of the runs in the plot of the learning curves, one per run.",
            show_default="the names of the runs",
        ),
    ] = None,
    arch: CustomClassesOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Overlay the learning curves of several runs, or redraw all plots of one run."""
    import mnistctl

    with display.live(quiet=quiet):
        result = mnistctl.plot(
            runs or (),
            output=output,
            title=title,
            labels=[label.strip() for label in labels.split(",")] if labels else (),
            arch=arch or (),
            data_dir=data_dir,
        )
    render.show(result, lambda result: result.plots, as_json=as_json)
