"""`mnistctl download`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import RenderableType

from mnistctl.cli import display, render
from mnistctl.cli.options import DataDirOption, DatasetArgument, JsonOption, QuietOption

if TYPE_CHECKING:
    from mnistctl.api.data import DatasetInfo
    from mnistctl.datasets.fetch import FetchedFile

T = TypeVar("T", bound=render.Result)


def download(
    dataset: DatasetArgument = "mnist",
    source: Annotated[
        str | None,
        typer.Option("--from", help="Take the files from this folder or address: .gz or raw."),
    ] = None,
    mirror: Annotated[
        str | None, typer.Option(help="An address to try first.", show_default="MNISTCTL_MIRROR")
    ] = None,
    list_all: Annotated[
        bool, typer.Option("--list", help="Show which datasets there are, and which are here.")
    ] = False,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fetch a dataset into the data folder, and check every byte of it."""
    import mnistctl

    if list_all:
        found = mnistctl.list_datasets(data_dir=data_dir)
        render.show_all(found, _render_list, as_json=as_json)
        return
    with display.live(quiet=quiet):
        files = mnistctl.download(dataset, source=source, mirror=mirror, data_dir=data_dir)
    render.show_all(files, _render_files, as_json=as_json)


def _render_files(files: "Sequence[FetchedFile]") -> Iterator[RenderableType]:
    table = render.table("file", "size", "")
    for file in files:
        table.add_row(file.file, render.size(file.bytes), file.status)
    yield table
    folder = Path(files[0].path).parent
    if any(file.status == "unverified" for file in files):
        yield f"\nIn {folder}; unverified: sound, but nothing vouches for it"
    else:
        yield f"\nVerified, in {folder}"


def _render_list(found: "Sequence[DatasetInfo]") -> Iterator[RenderableType]:
    table = render.table("dataset", "here", "classes", "licence", "what it is")
    for column in table.columns[1:]:
        column.justify = "left"
    for item in found:
        here = "yes" if item.on_disk else "no"
        table.add_row(item.name, here, str(len(item.classes)), item.licence, item.summary)
    yield table
