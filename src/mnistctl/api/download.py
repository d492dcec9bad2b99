"""`download`: put a dataset's files into the data folder."""

from pathlib import Path

from mnistctl import datasets
from mnistctl.datasets import catalog, fetch
from mnistctl.errors import DataError, UsageError, look_up

FIRST_BYTE_TIMEOUT_S = 30.0  # longer than before a training run: here the user waits for the download


def download(
    dataset: str = "mnist",
    *,
    source: Path | str | None = None,
    mirror: str | None = None,
    data_dir: Path | None = None,
) -> list[fetch.FetchedFile]:
    """Put a dataset's files into the data folder and verify them. Correct files are kept.

    Args:
        dataset: a name in `datasets.catalog.DATASETS`.
        source: a folder or a URL to take the files from instead of the mirrors.
        mirror: a URL to try before the mirrors; None: the one in MNISTCTL_MIRROR.
        data_dir: the data folder; None: the default.

    Raises:
        UsageError: there is no such dataset, or it needs no download.
        DataError: the files cannot be downloaded, or are wrong.
        WriteError: the data folder cannot be written.
    """
    entry = look_up("dataset", dataset, catalog.DATASETS)
    if not entry.folder:
        raise UsageError(f"dataset '{dataset}' is part of mnistctl; there is nothing to download")
    if source is not None and not fetch.is_url(source) and not (source and Path(source).is_dir()):
        raise DataError(f"--from {source}: neither a folder nor a URL (https://…)")
    if mirror is not None and source is not None:
        raise UsageError("--from and --mirror: choose one")
    if mirror is not None and not fetch.is_url(mirror):
        raise UsageError(f"--mirror {mirror}: expected a URL (https://…)")
    return fetch.fetch(
        entry,
        datasets.raw_folder(entry, data_dir),
        source=source,
        mirror=mirror,
        first_byte_timeout_s=FIRST_BYTE_TIMEOUT_S,
    )
