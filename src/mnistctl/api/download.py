"""`download`: a dataset's files in the data folder."""

from pathlib import Path

from mnistctl import datasets
from mnistctl.datasets import catalog, fetch
from mnistctl.errors import DataError, UsageError

PATIENCE_S = 30.0  # until the first byte of a file, where somebody asked for it


def download(
    dataset: str = "mnist",
    *,
    source: Path | str | None = None,
    mirror: str | None = None,
    data_dir: Path | None = None,
) -> list[fetch.FetchedFile]:
    """Put a dataset's files into the data folder, verified; right ones are not fetched again.

    Args:
        dataset: a name in `datasets.catalog.DATASETS`.
        source: a folder or an address to take the files from instead of the mirrors.
        mirror: an address to try before the mirrors; None: the one in MNISTCTL_MIRROR.
        data_dir: the data folder, if not the usual one.

    Raises:
        UsageError: no such dataset, or one that needs no download.
        DataError: the files are not to be had, or are wrong.
        WriteError: the data folder cannot be written.
    """
    found = catalog.find(dataset)
    if not found.folder:
        raise UsageError(f"dataset '{dataset}' is part of mnistctl; there is nothing to download")
    if source is not None and not fetch.is_address(source) and not (source and Path(source).is_dir()):
        raise DataError(f"--from {source}: neither a folder nor an address (https://…)")
    if mirror is not None and source is not None:
        raise UsageError("--from and --mirror: choose one")
    if mirror is not None and not fetch.is_address(mirror):
        raise UsageError(f"--mirror {mirror}: expected an address (https://…)")
    return fetch.fetch(
        found,
        datasets.raw_folder(found, data_dir),
        source=source,
        mirror=mirror,
        first_byte_timeout_s=PATIENCE_S,
    )
