"""`mnistctl download`."""

from pathlib import Path
from typing import Annotated

import typer

from mnistctl.cli import output, watching
from mnistctl.cli.options import DataDirOption, DatasetArgument, JsonOption, QuietOption


def download(
    dataset: DatasetArgument = "mnist",
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Take the files from this folder instead: .gz or raw."),
    ] = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fetch a dataset into the data folder, and check every byte of it."""
    from mnistctl import workflows

    with watching.watcher(quiet=quiet) as watcher:
        files = workflows.download(dataset, source=source, data_dir=data_dir, watcher=watcher)
    if as_json:
        output.show_json([file.to_json() for file in files])
        return
    table = output.table("file", "size", "")
    for file in files:
        table.add_row(file.file, output.size(file.bytes), file.status)
    screen = output.console()
    screen.print(table)
    screen.print(f"\nVerified, in {Path(files[0].path).parent}", soft_wrap=True)
