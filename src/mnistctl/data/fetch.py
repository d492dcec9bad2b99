"""Getting a dataset's files: from a folder or from mirrors, each checked before it has its name."""

import functools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from mnistctl import files
from mnistctl.data import idx
from mnistctl.data.catalog import Dataset, RawFile
from mnistctl.errors import DataError, DownloadError

if TYPE_CHECKING:
    import requests

FIRST_BYTE_TIMEOUT_S = 10.0  # for one file, over all its mirrors, until the first byte arrives
STALL_TIMEOUT_S = 20.0  # between two pieces of a body
TRANSFER_TIMEOUT_S = 900.0  # for one whole body
_CHUNK_BYTES = 1 << 16

T = TypeVar("T")
OnProgress = Callable[[str, int, int | None], None]  # file, bytes so far, bytes in all if known


@dataclass(frozen=True)
class FetchedFile:
    """One file of a dataset, in its place and right."""

    file: str
    path: str
    bytes: int
    sha256: str
    status: str  # "present" | "copied" | "downloaded"
    source: str | None = None  # the file or address it came from

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def fetch(
    dataset: Dataset,
    folder: Path,
    *,
    source: Path | None = None,
    on_progress: OnProgress = lambda file, received, total: None,
) -> list[FetchedFile]:
    """Put every file of a dataset into `folder`; what is there and right is left as it is.

    Args:
        dataset: an entry of the catalog that has mirrors.
        folder: where the raw files belong.
        source: a folder to take them from instead of the mirrors: raw or `.gz`, lying in it or in
            the dataset's own sub-folder of it.
        on_progress: called as bytes arrive.

    Raises:
        DataError: `source` lacks a file, or has a wrong one.
        DownloadError: no mirror gave the right bytes.
        WriteError: the folder cannot be written.
    """
    from filelock import FileLock  # only wanted when something may have to be written

    if all(_is_right(folder / file.name, file) for file in dataset.files):
        return [_fetched(file, folder, "present") for file in dataset.files]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire()
    except OSError as error:
        raise files.write_error(folder, error) from error
    with lock:
        return [_fetch_file(dataset, file, folder, source, on_progress) for file in dataset.files]


def _fetch_file(
    dataset: Dataset, file: RawFile, folder: Path, source: Path | None, on_progress: OnProgress
) -> FetchedFile:
    place = folder / file.name
    if _is_right(place, file):
        return _fetched(file, folder, "present")
    beside = place.with_name(file.name + ".gz")  # what another tool downloaded but did not unpack
    if source is not None:
        taken = _find_in(source, dataset, file)
        content = _verified(taken.read_bytes(), file, name=str(taken))
        status, origin = "copied", str(taken)
    elif beside.is_file() and (unpacked := _try_archive(beside, file)) is not None:
        content, status, origin = unpacked, "copied", str(beside)
    else:
        content, origin = _download(dataset, file, on_progress)
        status = "downloaded"
    files.write_bytes(place, content)
    return _fetched(file, folder, status, origin)


def _fetched(file: RawFile, folder: Path, status: str, source: str | None = None) -> FetchedFile:
    return FetchedFile(file.name, str(folder / file.name), file.size_bytes, file.sha256, status, source)


def _is_right(path: Path, file: RawFile) -> bool:
    try:
        if path.stat().st_size != file.size_bytes:
            return False
        return files.sha256(path.read_bytes()) == file.sha256
    except OSError:
        return False


def _verified(content: bytes, file: RawFile, *, name: str) -> bytes:
    """The raw bytes of a file, packed or not, with the right SHA-256.

    Raises:
        DataError: they are others.
    """
    if content[:2] == b"\x1f\x8b":
        content = idx.unpack_gzip(content, name=name, size_bytes=file.size_bytes)
    found = files.sha256(content)
    if found != file.sha256:
        raise DataError(
            f"{name}: {len(content):,} bytes with SHA-256 {found[:12]}…, "
            f"expected {file.size_bytes:,} with {file.sha256[:12]}…"
        )
    return content


def _try_archive(path: Path, file: RawFile) -> bytes | None:
    try:
        return _verified(path.read_bytes(), file, name=str(path))
    except (OSError, DataError):
        return None


def _find_in(source: Path, dataset: Dataset, file: RawFile) -> Path:
    names = (file.name, file.name.replace("-idx", ".idx"))
    for folder in (source, source / dataset.folder):
        for name in names:
            for candidate in (folder / name, folder / f"{name}.gz"):
                if candidate.is_file():
                    return candidate
    raise DataError(f"{source}: has neither {file.name} nor {file.name}.gz, nor {dataset.folder}/")


def _download(dataset: Dataset, file: RawFile, on_progress: OnProgress) -> tuple[bytes, str]:
    """The raw bytes from the first mirror that gives the right ones, and their address."""
    archive = f"{file.name}.gz"
    failures = []
    deadline = time.monotonic() + FIRST_BYTE_TIMEOUT_S
    for number, mirror in enumerate(dataset.mirrors):
        url = mirror.rstrip("/") + "/" + archive
        share_s = (deadline - time.monotonic()) / (len(dataset.mirrors) - number)
        try:
            progress = functools.partial(on_progress, archive)
            content = _body(url, share_s, limit=file.size_bytes + 65_536, on_progress=progress)
            return _verified(content, file, name=archive), url
        except DataError as error:
            failures.append(f"{urlsplit(url).hostname}: {error}")
    raise DownloadError(
        f"{archive} could not be downloaded ({'; '.join(failures)}); "
        f"get the files elsewhere and run 'mnistctl download {dataset.name} --from FOLDER', "
        "or use '--dataset digits', which needs no download"
    )


def _body(
    url: str,
    first_byte_timeout_s: float,
    *,
    limit: int,
    on_progress: Callable[[int, int | None], None],
) -> bytes:
    """Everything an address answers with.

    Raises:
        DataError: it does not answer in time, or with an error, or with more than `limit` bytes.
    """
    import requests

    started = time.monotonic()
    try:
        with requests.Session() as session:
            answer = _within(first_byte_timeout_s, lambda: _open(session, url))
            response, pieces, first = answer
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else None
            received = bytearray(first)
            with response:
                for piece in pieces:
                    on_progress(len(received), total)
                    received += piece
                    if len(received) > limit:
                        raise DataError(f"more than the expected {limit:,} bytes")
                    if time.monotonic() - started > TRANSFER_TIMEOUT_S:
                        raise DataError(f"not finished after {TRANSFER_TIMEOUT_S:.0f} s")
        on_progress(len(received), total)
        return bytes(received)
    except (TimeoutError, requests.Timeout) as error:
        raise DataError("no answer in time") from error
    except requests.HTTPError as error:
        refusal = error.response
        raise DataError(f"answered {refusal.status_code} {refusal.reason}") from error
    except (requests.RequestException, OSError) as error:
        raise DataError(_reason(error)) from error


def _open(session: "requests.Session", url: str) -> "tuple[requests.Response, Iterator[bytes], bytes]":
    """The answer, the pieces of its body, and the first piece, which is empty for an empty body."""
    response = session.get(
        url,
        stream=True,
        timeout=STALL_TIMEOUT_S,
        headers={"Accept-Encoding": "identity"},  # the archive itself, not packed once more
    )
    try:
        response.raise_for_status()
        pieces = response.iter_content(_CHUNK_BYTES)
        return response, pieces, next(pieces, b"")
    except BaseException:
        response.close()
        raise


def _within(timeout_s: float, call: Callable[[], T]) -> T:
    """What `call` returns or raises; TimeoutError when it takes longer.

    In a thread of its own, because looking up a name has no time-out that could be set.
    """
    answers: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((call(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        answer, error = answers.get(timeout=max(0.1, timeout_s))
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]


def _reason(error: BaseException) -> str:
    """The innermost cause of a failed request, in a few words."""
    text = str(error)
    if "NameResolutionError" in text or "getaddrinfo" in text:
        return "its name is not known here (no network?)"
    if "Connection refused" in text or "NewConnectionError" in text:
        return "no connection"
    if "certificate" in text.lower():
        return "its certificate is not trusted"
    return f"broke off ({type(error).__name__})"
