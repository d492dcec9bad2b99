"""`mnistctl data`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from mnistctl.cli import display, render, terminal_art
from mnistctl.cli.options import DataDirOption, JsonOption, QuietOption, dataset_option

if TYPE_CHECKING:
    from mnistctl.api.data import DatasetSummary

_SHOWN_CLASSES, _SHOWN_SAMPLES = 12, 5  # in the terminal; the picture has all


def data(
    dataset: Annotated[
        str, dataset_option("A dataset's name, or a folder of pictures.", "mnist")
    ] = "mnist",
    path: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The sheet.", show_default="DATASET-samples.png"),
    ] = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show what a dataset holds: samples, counts per class and split, duplicates."""
    import mnistctl

    with display.live(quiet=quiet):
        survey = mnistctl.data(dataset, output=path, data_dir=data_dir)
    render.show(survey, _render, as_json=as_json)


def _render(survey: "DatasetSummary") -> Iterator[RenderableType]:
    shown = render.table("class", "")
    for name, images in survey.samples[:_SHOWN_CLASSES]:
        drawn = [terminal_art.dotted(image) for image in images[:_SHOWN_SAMPLES]]
        shown.add_row(name, "\n".join(" ".join(lines) for lines in zip(*drawn, strict=True)))
    yield shown
    if len(survey.samples) > _SHOWN_CLASSES:
        yield f"… and {len(survey.samples) - _SHOWN_CLASSES} classes more in the picture"
    counts = render.table("\nclass", *(f"\n{split}" for split in survey.images))
    for name in survey.class_names:
        counts.add_row(name, *(f"{classes[name]:,}" for classes in survey.images.values()))
    totals = (f"{sum(classes.values()):,}" for classes in survey.images.values())
    counts.add_row("all", *totals, style="bold")
    yield counts
    yield f"\nexact duplicates between test and the rest: {survey.duplicates:,}"
    yield Text.assemble("samples in ", (survey.picture, "bold"))
