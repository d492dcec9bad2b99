"""`download`: a dataset's files in the data folder."""

from pathlib import Path

from mnistctl import data
from mnistctl.data import catalog, fetch
from mnistctl.errors import DataError, UsageError
from mnistctl.watcher import SILENT, Watcher


def download(
    dataset: str = "mnist",
    *,
    source: Path | None = None,
    data_dir: Path | None = None,
    watcher: Watcher = SILENT,
) -> list[fetch.FetchedFile]:
    """Put a dataset's files into the data folder, verified; right ones are not fetched again.

    Args:
        dataset: a name in `data.catalog.DATASETS`.
        source: a folder to take the files from instead of the mirrors.
        data_dir: the data folder, if not the usual one.
        watcher: hears of the bytes as they arrive.

    Raises:
        DataError: the files are not to be had, or are wrong.
        WriteError: the data folder cannot be written.
    """
    found = catalog.find(dataset)
    if not found.folder:
        raise UsageError(f"dataset '{dataset}' is part of mnistctl; there is nothing to download")
    if source is not None and not source.is_dir():
        raise DataError(f"--from {source}: not a folder")
    return fetch.fetch(
        found, data.raw_folder(found, data_dir), source=source, on_progress=watcher.download
    )
