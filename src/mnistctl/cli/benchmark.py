"""`mnistctl benchmark`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.filesize import decimal

from mnistctl.cli import display, render
from mnistctl.cli.completion import complete_formats
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

_HEADINGS = (
    "\nformat",
    "\nstatus",
    "\nsize",
    "\naccuracy",
    "latency of\none image, ms",
    "99%\nbelow",
    "images/s\nin batches",
    "load,\ns",
    "peak,\nMB",
    "\nthreads",
)


def benchmark(
    model: ModelArgument = None,
    format_names: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="LIST",
            autocompletion=complete_formats,
            help=f"Formats to measure, separated by commas: {', '.join(formats.BENCHMARKED)}.",
            show_default="all",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File for the plot of the results: .png, .svg or .pdf.",
            show_default="benchmark.png in the model's run folder",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        dataset_option("Dataset to test on.", "the dataset the model was trained on"),
    ] = None,
    arch: CustomClassOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure size, accuracy, speed and memory of a model in every format except Triton."""
    import mnistctl

    names = formats.BENCHMARKED if format_names is None else format_names.split(",")
    with display.live(quiet=quiet):
        result = mnistctl.benchmark(
            model,
            format=[name.strip() for name in names],
            output=output,
            dataset=dataset,
            arch=arch,
            data_dir=data_dir,
        )
    render.show(result, _render, as_json=as_json)
    result.require()


def _render(result: "BenchmarkResult") -> Iterator[RenderableType]:
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    yield f"{result.model} on {result.images:,} {result.split} images of {result.dataset}"
    yield f"{result.machine}, {versions}\n"
    table = render.table(*_HEADINGS, left=(0, 1))
    for row in result.formats:
        table.add_row(row.format, row.status, *_cells(row))
    yield table
    yield "\nmedians of 5 rounds (lowest–highest); batches of 256 images"
    for row in result.formats:
        if row.reason is not None:
            yield f"{row.format}: {row.reason}"
    for path in result.plots:
        yield f"\nplot: {path}"


def _cells(row: "FormatResult") -> Iterator[str]:
    yield "–" if row.bytes is None else decimal(row.bytes)
    yield render.percent(row.accuracy)
    yield _with_range(row.latency_ms, row.latency_range_ms, ".2f")
    yield render.number(row.latency_p99_ms, ".2f")
    yield _with_range(row.images_per_second, row.images_per_second_range, ",.0f")
    yield render.number(row.load_seconds, ".2f")
    yield render.number(row.peak_mb, ",.0f")
    yield render.number(row.threads)


def _with_range(median: float | None, ends: tuple[float, float] | None, spec: str) -> str:
    return "–" if ends is None else f"{median:{spec}} ({ends[0]:{spec}}–{ends[1]:{spec}})"
