"""`mnistctl download`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.filesize import decimal

from mnistctl.cli import display, render
from mnistctl.cli.completion import complete_datasets
from mnistctl.cli.options import DataDirOption, JsonOption, QuietOption

if TYPE_CHECKING:
    from mnistctl.api.data import DatasetInfo
    from mnistctl.datasets.fetch import FetchedFile


def download(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET", help="Name of the dataset.", autocompletion=complete_datasets
        ),
    ] = "mnist",
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="Folder or URL to take the files from, raw or compressed (.gz).",
        ),
    ] = None,
    mirror: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="URL to try before the built-in mirrors.", envvar="MNISTCTL_MIRROR"
        ),
    ] = None,
    list_all: Annotated[
        bool, typer.Option("--list", help="List all datasets and whether they are on disk.")
    ] = False,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Download a dataset and verify every file."""
    import mnistctl

    if list_all:
        render.show(mnistctl.list_datasets(data_dir=data_dir), _render_datasets, as_json=as_json)
        return
    with display.live(quiet=quiet):
        files = mnistctl.download(dataset, source=source, mirror=mirror, data_dir=data_dir)
    render.show(files, _render_files, as_json=as_json)


def _render_files(files: "Sequence[FetchedFile]") -> Iterator[RenderableType]:
    table = render.table("file", "size", "status", left=(0, 2))
    for file in files:
        table.add_row(file.file, decimal(file.bytes), file.status)
    yield table
    yield f"\nfolder: {Path(files[0].path).parent}"
    if any(file.status == "unverified" for file in files):
        yield "unverified: well-formed, but no published hash to check against"
    else:
        yield "all files verified"


def _render_datasets(datasets: "Sequence[DatasetInfo]") -> Iterator[RenderableType]:
    headings = ("dataset", "on disk", "classes", "licence", "summary")
    table = render.table(*headings, left=range(5), wrap=[4])
    for dataset in datasets:
        on_disk = "yes" if dataset.on_disk else "no"
        table.add_row(
            dataset.name, on_disk, str(len(dataset.classes)), dataset.licence, dataset.summary
        )
    yield table
