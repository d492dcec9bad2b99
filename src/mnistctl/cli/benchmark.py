"""`mnistctl benchmark`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from mnistctl.cli import display, render
from mnistctl.cli.options import (
    CustomClassOption,
    DataDirOption,
    JsonOption,
    ModelArgument,
    QuietOption,
    dataset_option,
)
from mnistctl.models import formats

if TYPE_CHECKING:
    from mnistctl.api.benchmark import BenchmarkResult, FormatResult


def benchmark(
    model: ModelArgument = None,
    format_names: Annotated[
        str | None,
        typer.Option(
            "--format", help=f"Some, with commas: {', '.join(formats.BENCHMARKED)}.", show_default="all"
        ),
    ] = None,
    chart: Annotated[
        Path | None,
        typer.Option(
            help="Draw the figures there, as PNG.", show_default="into the model's run folder"
        ),
    ] = None,
    dataset: Annotated[
        str | None, dataset_option("What to read.", "what the model was trained on")
    ] = None,
    arch: CustomClassOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure a model in every format: size, accuracy, latency, images a second, memory."""
    import mnistctl

    names = formats.BENCHMARKED if format_names is None else format_names.split(",")
    with display.live(quiet=quiet):
        found = mnistctl.benchmark(
            model,
            format=[name.strip() for name in names],
            chart=chart,
            dataset=dataset,
            arch=arch,
            data_dir=data_dir,
        )
    render.show(found, _render, as_json=as_json)
    found.require()


def _render(found: "BenchmarkResult") -> Iterator[RenderableType]:
    versions = ", ".join(f"{name} {number}" for name, number in found.versions.items())
    yield f"{found.model}, {found.images:,} {found.split} images of {found.dataset}"
    yield f"{found.machine}, {versions}\n"
    table = render.table(
        *("format", "status", "size", "accuracy", "1 image, ms", "99th", "images/s by 256"),
        *("load, s", "peak, MB", "threads"),
        left=(0, 1),
    )
    for row in found.formats:
        table.add_row(row.format, row.status, *_cells(row))
    yield table
    for row in found.formats:
        if row.reason is not None:
            yield f"{row.format}: {row.reason}"
    if found.chart is not None:
        yield f"\n{found.chart}"


def _cells(row: "FormatResult") -> Iterator[str]:
    yield "–" if row.bytes is None else render.size(row.bytes)
    yield render.percent(row.accuracy)
    for value, shown in (
        (row.latency_ms, "{:.3f}"),
        (row.latency_p99_ms, "{:.3f}"),
        (row.images_per_second, "{:,.0f}"),
        (row.load_seconds, "{:.2f}"),
        (row.peak_mb, "{:,.0f}"),
        (row.threads, "{}"),
    ):
        yield _cell(value, shown)


def _cell(value: Any, shown: str) -> str:
    return "–" if value is None else shown.format(value)
