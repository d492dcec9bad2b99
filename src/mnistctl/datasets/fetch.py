"""Getting a dataset's files: from a folder or from mirrors, each checked before it has its name."""

import contextlib
import functools
import logging
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mnistctl.datasets import http, verify
from mnistctl.datasets.catalog import Dataset, RawFile
from mnistctl.errors import DataError, DownloadError
from mnistctl.run import progress
from mnistctl.system import files

_log = logging.getLogger(__name__)

FIRST_BYTE_TIMEOUT_S = 10.0  # for one file, over all its mirrors, until the first byte arrives
MIRROR_VARIABLE = "MNISTCTL_MIRROR"
_ARCHIVE_MARGIN = 1 << 16  # bytes that an archive of incompressible data may be larger


@dataclass(frozen=True)
class FetchedFile:
    """One file of a dataset, in its place and right."""

    file: str
    path: str
    bytes: int
    status: str  # "present", "unverified" (sound, but nothing vouches for it), "copied", "downloaded"
    source: str | None = None  # the file or address it came from

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def fetch(
    dataset: Dataset,
    folder: Path,
    *,
    source: Path | str | None = None,
    mirror: str | None = None,
    first_byte_timeout_s: float | None = None,
) -> list[FetchedFile]:
    """Put every file of a dataset into `folder`; what is there and right is left as it is.

    Args:
        dataset: an entry of the catalog that has a folder.
        folder: where the raw files belong.
        source: where to take them from instead of the mirrors: a folder, in which they lie raw or
            as `.gz`, flat or in the dataset's own sub-folder; or an address.
        mirror: an address to try before the dataset's own mirrors; None: MNISTCTL_MIRROR. The
            archives are looked for in `<mirror>/<dataset>/` and in `<mirror>/`.
        first_byte_timeout_s: for one file, over all its mirrors; None: 10 seconds.

    Raises:
        DataError: `source` lacks a file, or has a wrong one.
        DownloadError: no mirror gave the right bytes.
        WriteError: the folder cannot be written.
    """
    from filelock import FileLock, Timeout  # only wanted when something may have to be written

    here = [verify.status(folder / file.name, file) for file in dataset.files]
    if all(here):
        return [
            _fetched(file, folder, status or "")
            for file, status in zip(dataset.files, here, strict=True)
        ]
    mirrors = _mirrors(dataset, source, mirror)
    timeout_s = FIRST_BYTE_TIMEOUT_S if first_byte_timeout_s is None else first_byte_timeout_s
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0)
        if not lock.is_locked:
            _log.info(f"waiting for another process that downloads to {folder}")
            lock.acquire()
    except OSError as error:
        raise files.write_error(folder, error) from error
    try:
        files.remove_partials(folder)
        return [
            _fetch_file(dataset, file, folder, source, mirrors, timeout_s) for file in dataset.files
        ]
    finally:
        lock.release()


def is_address(source: Path | str) -> bool:
    """Whether a source is an address to download from, and not a folder."""
    return str(source).startswith(("http://", "https://"))


def _mirrors(dataset: Dataset, source: Path | str | None, mirror: str | None) -> list[str]:
    """The folders of archives to try, in order, each ending in a slash."""
    first = mirror or os.environ.get(MIRROR_VARIABLE) if source is None else str(source)
    own = [f"{first.rstrip('/')}/{dataset.name}/", f"{first.rstrip('/')}/"] if first else []
    return [*own, *(dataset.mirrors if source is None else ())]


def _fetch_file(
    dataset: Dataset,
    file: RawFile,
    folder: Path,
    source: Path | str | None,
    mirrors: list[str],
    timeout_s: float,
) -> FetchedFile:
    place = folder / file.name
    if status := verify.status(place, file):
        return _fetched(file, folder, status)
    beside = place.with_name(f"{file.name}.gz")  # what another tool downloaded but did not unpack
    if source is not None and not is_address(source):
        path = _find_in(Path(source), dataset, file)
        taken, origin, status = _take(path, file), str(path), "copied"
    elif beside.is_file() and (found := _try(beside, file)) is not None:
        taken, origin, status = found, str(beside), "copied"
    else:
        taken, origin = _download(dataset, file, mirrors, timeout_s)
        status = "downloaded"
    verify.write(place, taken, file)
    return _fetched(file, folder, status if taken.verified else "unverified", origin)


def _fetched(file: RawFile, folder: Path, status: str, source: str | None = None) -> FetchedFile:
    return FetchedFile(file.name, str(folder / file.name), file.size_bytes, status, source)


def _take(path: Path, file: RawFile) -> verify.Raw:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    return verify.unpack(content, file, name=str(path))


def _try(path: Path, file: RawFile) -> verify.Raw | None:
    try:
        return _take(path, file)
    except DataError:
        return None


def _find_in(source: Path, dataset: Dataset, file: RawFile) -> Path:
    names = (file.name, file.name.replace("-idx", ".idx"))
    # An archive first, where it is the archive that has a published hash.
    suffixes = ("", ".gz") if file.archive_md5 is None else (".gz", "")
    for folder in (source, source / dataset.folder):
        for name in names:
            for candidate in (folder / f"{name}{suffix}" for suffix in suffixes):
                if candidate.is_file():
                    return candidate
    raise DataError(f"{source}: has neither {file.name} nor {file.name}.gz, nor {dataset.folder}/")


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or url
    except ValueError:  # an address that is none
        return url


def _download(
    dataset: Dataset,
    file: RawFile,
    mirrors: list[str],
    timeout_s: float,
) -> tuple[verify.Raw, str]:
    """The raw file from the first mirror that gives the right archive, and its address."""
    archive = f"{file.name}.gz"
    failures: dict[str, None] = {}  # in order, each once
    deadline = time.monotonic() + timeout_s
    for number, mirror in enumerate(mirrors):
        url = mirror + archive
        share_s = (deadline - time.monotonic()) / (len(mirrors) - number)
        try:
            on_bytes = functools.partial(progress.current().download, archive)
            limit = file.size_bytes + _ARCHIVE_MARGIN
            content = http.get(url, share_s, limit=limit, progress=on_bytes)
            found = verify.unpack(content, file, name="its answer")
            if not found.verified:
                raise DataError("not the published archive")
            return found, url
        except DataError as error:
            failures[f"{_host(url)}: {error}"] = None
    raise DownloadError(
        f"{archive} could not be downloaded ({'; '.join(failures)}); get the files elsewhere and run "
        f"'mnistctl download {dataset.name} --from FOLDER', or use '--dataset digits', which needs "
        "no download"
    )
