"""`mnistctl download`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnistctl.cli import output, watching
from mnistctl.cli.options import DataDirOption, DatasetArgument, JsonOption, QuietOption

if TYPE_CHECKING:
    from mnistctl.datasets.fetch import FetchedFile
    from mnistctl.workflows.surveying import Listed


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
    from mnistctl import workflows

    if list_all:
        found = workflows.list_datasets(data_dir=data_dir)
        output.show_json([item.to_json() for item in found]) if as_json else _show_list(found)
        return
    with watching.watcher(quiet=quiet) as watcher:
        files = workflows.download(
            dataset, source=source, mirror=mirror, data_dir=data_dir, watcher=watcher
        )
    output.show_json([item.to_json() for item in files]) if as_json else _show_files(files)


def _show_files(files: "list[FetchedFile]") -> None:
    table = output.table("file", "size", "")
    for file in files:
        table.add_row(file.file, output.size(file.bytes), file.status)
    screen = output.console()
    screen.print(table)
    folder = Path(files[0].path).parent
    if any(file.status == "unverified" for file in files):
        screen.print(f"\nIn {folder}; unverified: sound, but nothing vouches for it", soft_wrap=True)
    else:
        screen.print(f"\nVerified, in {folder}", soft_wrap=True)


def _show_list(found: "list[Listed]") -> None:
    table = output.table("dataset", "here", "classes", "licence", "what it is")
    for column in table.columns[1:]:
        column.justify = "left"
    table.columns[-1].no_wrap = False
    for item in found:
        here = "yes" if item.on_disk else "no"
        table.add_row(item.name, here, str(len(item.classes)), item.licence, item.summary)
    output.console().print(table)
