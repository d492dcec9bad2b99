"""Put a dataset's files into its folder, from mirrors or from another folder, verified."""

import contextlib
import functools
import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mnistctl.datasets import http, verify
from mnistctl.datasets.catalog import Dataset, RawFile
from mnistctl.errors import DataError, DownloadError
from mnistctl.run import progress
from mnistctl.system import files, temporary
from mnistctl.types import Result

_log = logging.getLogger(__name__)

FIRST_BYTE_TIMEOUT_S = 10.0  # per file, for all mirrors together, until the first byte arrives
MIRROR_VARIABLE = "MNISTCTL_MIRROR"
_ARCHIVE_MARGIN = 1 << 16  # bytes by which an archive of incompressible data may be larger


@dataclass(frozen=True)
class FetchedFile(Result):
    """A file of a dataset that is in the data folder."""

    file: str  # its name
    path: str  # where it is
    bytes: int  # its size
    status: str  # "present", "copied" or "downloaded"; "unverified": no published hash to check it
    source: str | None = None  # the file or URL that it was taken from; null: it was there before


def fetch(
    dataset: Dataset,
    folder: Path,
    *,
    source: Path | str | None = None,
    mirror: str | None = None,
    first_byte_timeout_s: float | None = None,
) -> list[FetchedFile]:
    """Put all files of a dataset into `folder`. Existing correct files are left unchanged.

    Args:
        dataset: a dataset that is not part of the package.
        folder: the folder for the raw files.
        source: a folder or URL to take the files from instead of the mirrors. In a folder the files
            are raw or packed (.gz), either in it or in the dataset's own sub-folder.
        mirror: a URL to try before the dataset's mirrors; None: MNISTCTL_MIRROR. The archives are
            expected in `<mirror>/<dataset>/` or in `<mirror>/`.
        first_byte_timeout_s: per file, for all mirrors together; None: 10 seconds.

    Raises:
        DataError: `source` lacks a file, or has a wrong one.
        DownloadError: no mirror sent the right bytes.
        WriteError: the folder cannot be written.
    """
    states = [verify.status(folder / file.name, file) for file in dataset.files]
    if all(states):
        return [
            _fetched(file, folder, status or "")
            for file, status in zip(dataset.files, states, strict=True)
        ]
    source_folder = None if source is None or is_url(source) else Path(source)
    mirrors = _mirrors(dataset, source, mirror)
    timeout_s = FIRST_BYTE_TIMEOUT_S if first_byte_timeout_s is None else first_byte_timeout_s
    with _locked(folder):
        temporary.clean_up(folder)
        return [
            _fetch_file(dataset, file, folder, source_folder, mirrors, timeout_s)
            for file in dataset.files
        ]


def is_url(source: Path | str) -> bool:
    """Whether a source is a URL to download from, not a folder."""
    return str(source).startswith(("http://", "https://"))


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Make the folder and lock it against other processes."""
    from filelock import FileLock, Timeout  # not needed if the dataset is on disk

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0)
        if not lock.is_locked:
            _log.info(f"waiting for another download to {folder}")
            lock.acquire()
    except OSError as error:
        raise files.write_error(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def _mirrors(dataset: Dataset, source: Path | str | None, mirror: str | None) -> list[str]:
    """The base URLs of archives to try, in order, each ending in a slash."""
    first = mirror or os.environ.get(MIRROR_VARIABLE) if source is None else str(source)
    base = [f"{first.rstrip('/')}/{dataset.name}/", f"{first.rstrip('/')}/"] if first else []
    return [*base, *(dataset.mirrors if source is None else ())]


def _fetch_file(
    dataset: Dataset,
    file: RawFile,
    folder: Path,
    source_folder: Path | None,
    mirrors: list[str],
    timeout_s: float,
) -> FetchedFile:
    path = folder / file.name
    if status := verify.status(path, file):
        return _fetched(file, folder, status)
    if source_folder is not None:
        raw, source = _copy(_find_in(source_folder, dataset, file), file)
        status = "copied"
    else:
        try:  # another tool may have downloaded the archive and not unpacked it
            raw, source = _copy(folder / f"{file.name}.gz", file)
            status = "copied"
        except DataError:
            raw, source = _download(dataset, file, mirrors, timeout_s)
            status = "downloaded"
    verify.write(path, raw, file)
    return _fetched(file, folder, status if raw.verified else "unverified", source)


def _fetched(file: RawFile, folder: Path, status: str, source: str | None = None) -> FetchedFile:
    return FetchedFile(file.name, str(folder / file.name), file.size_bytes, status, source)


def _copy(path: Path, file: RawFile) -> tuple[verify.RawContent, str]:
    return verify.unpack(
        files.read_bytes(path, limit_bytes=files.LARGE_LIMIT_BYTES), file, name=str(path)
    ), str(path)


def _find_in(source: Path, dataset: Dataset, file: RawFile) -> Path:
    names = (file.name, file.name.replace("-idx", ".idx"))
    # The archive comes first if the published hash is the archive's.
    suffixes = ("", ".gz") if file.archive_md5 is None else (".gz", "")
    for folder in (source, source / dataset.folder):
        for name in names:
            for candidate in (folder / f"{name}{suffix}" for suffix in suffixes):
                if candidate.is_file():
                    return candidate
    raise DataError(
        f"{source}: neither {file.name} nor {file.name}.gz found, there or in {dataset.folder}/"
    )


def _download(
    dataset: Dataset, file: RawFile, mirrors: list[str], timeout_s: float
) -> tuple[verify.RawContent, str]:
    """The raw file from the first mirror that sends the published archive, and its URL."""
    archive = f"{file.name}.gz"
    failures: dict[tuple[str, str], None] = {}  # an ordered set of hosts and errors
    budget_s = timeout_s
    for number, mirror in enumerate(mirrors):
        url = mirror + archive
        first_byte_timeout_s = budget_s / (len(mirrors) - number)
        started = time.monotonic()
        try:
            content = http.get(
                url,
                first_byte_timeout_s,
                limit=file.size_bytes + _ARCHIVE_MARGIN,
                progress=functools.partial(progress.current().download, archive),
            )
            raw = verify.unpack(content, file, name="response")
            if not raw.verified:
                raise DataError("not the published archive")
            return raw, url
        except DataError as error:
            failures[_host(url), str(error)] = None
        # A mirror uses up at most its share, even if it fails later, in the middle of the body.
        budget_s -= min(time.monotonic() - started, first_byte_timeout_s)
    raise DownloadError(
        f"{_reason(archive, failures)}; get the files elsewhere and run "
        f"'mnistctl download {dataset.name} --from FOLDER'"
    )


def _reason(archive: str, failures: Mapping[tuple[str, str], None]) -> str:
    """Why no mirror sent an archive, from hosts and their errors."""
    if len(failures) > 1 and {error for _, error in failures} <= http.UNREACHABLE:
        return f"no network: none of {len(failures)} mirrors could be reached"
    details = "; ".join(f"{host}: {error}" for host, error in failures)
    return f"{archive} could not be downloaded ({details})"


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or url
    except ValueError:  # an invalid URL
        return url
