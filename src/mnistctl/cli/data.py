"""`mnistctl data`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mnistctl.cli import display, render, terminal_art
from mnistctl.cli.options import DataDirOption, JsonOption, QuietOption, dataset_option

if TYPE_CHECKING:
    from mnistctl.api.data import DatasetSummary

_MAX_CLASSES, _MAX_SAMPLES = 12, 5  # shown in the terminal; the plot has all classes


def data(
    dataset: Annotated[str, dataset_option("Name of a dataset, or a folder of pictures.")] = "mnist",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="PNG file for the plot of samples.",
            show_default="DATASET-samples.png",
        ),
    ] = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show samples, class counts and duplicates of a dataset."""
    import mnistctl

    with display.live(quiet=quiet):
        summary = mnistctl.data(dataset, output=output, data_dir=data_dir)
    render.show(summary, _render, as_json=as_json)


def _render(summary: "DatasetSummary") -> Iterator[RenderableType]:
    yield _samples(summary)
    if len(summary.samples) > _MAX_CLASSES:
        yield f"… and {len(summary.samples) - _MAX_CLASSES} more classes in the plot"
    counts = render.table("\nclass", *(f"\n{split}" for split in summary.images))
    for name in summary.class_names:
        counts.add_row(name, *(f"{classes[name]:,}" for classes in summary.images.values()))
    totals = (f"{sum(classes.values()):,}" for classes in summary.images.values())
    counts.add_row("all", *totals, style="bold")
    yield counts
    yield f"\ntest images that are also in train or validation: {summary.duplicates:,}"
    yield Text.assemble("plot: ", (", ".join(summary.plots), "bold"))


def _samples(summary: "DatasetSummary") -> Table:
    table = render.table("class", "")
    for name, images in summary.samples[:_MAX_CLASSES]:
        columns = [terminal_art.braille_art(image) for image in images[:_MAX_SAMPLES]]
        lines = [" ".join(line) for line in zip(*columns, strict=True)]
        table.add_row(name, "\n".join(lines))
    return table
