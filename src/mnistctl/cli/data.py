"""`mnistctl data`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mnistctl.cli import display, render, terminal_art
from mnistctl.cli.completion import complete_recipes
from mnistctl.cli.options import DataDirOption, DatasetArgument, JsonOption, QuietOption
from mnistctl.errors import UsageError

if TYPE_CHECKING:
    from mnistctl.api.data import DatasetSummary, PagesSummary

_MAX_CLASSES, _MAX_SAMPLES = 12, 5  # shown in a terminal; the plot has all classes


def data(
    dataset: DatasetArgument = "mnist",
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Show the pages that this recipe for numbers composes of the dataset's images.",
            show_default="the images themselves",
            autocompletion=complete_recipes,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="Seed of the pages, for --recipe; 0 or more.", show_default="0"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File for the plot of samples or pages: .png, .svg or .pdf.",
            show_default="no plot",
        ),
    ] = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show samples, class counts and duplicates of a dataset."""
    import mnistctl

    if recipe is not None:
        with display.live(quiet=quiet):
            pages = mnistctl.data_pages(
                dataset, recipe, seed=seed or 0, output=output, data_dir=data_dir
            )
        render.show(pages, _render_pages, as_json=as_json)
        return
    if seed is not None:
        raise UsageError("--seed: only for --recipe, which composes pages")
    with display.live(quiet=quiet):
        summary = mnistctl.data(dataset, output=output, data_dir=data_dir)
    render.show(summary, _render, as_json=as_json)


def _render(summary: "DatasetSummary") -> Iterator[RenderableType]:
    if width := render.terminal_width():
        yield _samples(summary, width)
        if len(summary.samples) > _MAX_CLASSES:
            yield f"… and {len(summary.samples) - _MAX_CLASSES} more classes"
        yield ""
    counts = render.table("class", *summary.images)
    for name in summary.class_names:
        counts.add_row(name, *(f"{classes[name]:,}" for classes in summary.images.values()))
    totals = (f"{sum(classes.values()):,}" for classes in summary.images.values())
    counts.add_row("all", *totals, style="bold")
    yield counts
    yield f"\ntest images that are also in train or validation: {summary.duplicates:,}"
    for plot in summary.plots:
        yield Text.assemble("plot: ", (plot, "bold"))


def _render_pages(summary: "PagesSummary") -> Iterator[RenderableType]:
    yield (
        f"{summary.pages} pages of {summary.width}×{summary.height} pixels, composed of the training "
        f"images of {summary.dataset} with seed {summary.seed}\n"
    )
    counts = render.table("digit", "on the pages")
    for name, count in summary.digits.items():
        counts.add_row(name, f"{count:,}")
    counts.add_row("all", f"{sum(summary.digits.values()):,}", style="bold")
    yield counts
    yield f"\nmedian height of a digit: {summary.median_digit_height:.0f} pixels"
    yield f"digits that are cut off by the edge: {summary.cut_off:,}"
    yield f"pages without digits: {summary.empty_pages:,}"
    for plot in summary.plots:
        yield Text.assemble("plot: ", (plot, "bold"))
    if not summary.plots:
        yield "see some of them with: --output pages.png"


def _samples(summary: "DatasetSummary", width: int) -> Table:
    """Samples of each class, as many as fit beside the longest name."""
    table = render.table("class", "")
    samples = summary.samples[:_MAX_CLASSES]
    room = width - max(cell_len(name) for name in ("class", *dict(samples))) - 1
    count = min(_MAX_SAMPLES, max(1, room // (terminal_art.BRAILLE_WIDTH + 1)))
    for name, images in samples:
        columns = [terminal_art.braille_art(image) for image in images[:count]]
        lines = [" ".join(line) for line in zip(*columns, strict=True)]
        table.add_row(name, "\n".join(lines))
    return table
