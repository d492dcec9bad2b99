"""Read and write files.

Every write except `append_line` is atomic: a file has its old content or its new content. A new file is
written in a temporary folder, flushed to disk and renamed. Then the folder is flushed. A crash or a
full disk leaves either the old file or the new one.
"""

import contextlib
import errno
import hashlib
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from mnistctl.errors import DataError, MnistctlError, UsageError, WriteError
from mnistctl.system import temporary

LIMIT_BYTES = 256 * 2**20  # of a file that is read whole, unless the caller sets another limit
LARGE_LIMIT_BYTES = 8 * 2**30  # of models and of datasets
TEXT_LIMIT_BYTES = 64 * 2**20
_UNKNOWN_SIZE_BYTES = 2**20  # read from files whose size the system does not tell, as in /proc


@contextlib.contextmanager
def replacing(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Yield a temporary path. Afterwards flush its content to disk and put it in place of `path`.

    After an exception, `path` is as it was. If the process is killed, `temporary.clean_up` removes what
    it left, and puts back a folder that was being replaced.

    Args:
        path: the file or folder to write. A symlink stays; its target is replaced.
        folder: write a folder; the caller creates it at the yielded path.

    Raises:
        WriteError: `path` cannot be written (read-only, disk full, no permission).
    """
    try:
        target = path.resolve()  # a symlink stays; its target is replaced
        if target.exists() and not (target.is_dir() if folder else target.is_file()):
            raise WriteError(
                f"{path}: cannot be written: not a {'folder' if folder else 'regular file'}"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.path_for(target) as new:
            yield new
            for file in (new, *new.rglob("*")):
                if file.is_file():
                    with file.open("rb+") as stream:
                        os.fsync(stream.fileno())
            temporary.put_in_place(new, target)
            _flush_folder(target.parent)
    except OSError as error:
        raise write_error(path, error) from error


@contextlib.contextmanager
def os_errors_as(error: type[MnistctlError], path: Path | str) -> Iterator[None]:
    """Raise an OSError as `error`, with a one-line message that names `path`."""
    try:
        yield
    except OSError as cause:
        raise error(f"{path}: {cause.strerror or cause}") from cause


@contextlib.contextmanager
def open_regular(path: Path, error: type[MnistctlError] = DataError) -> Iterator[BinaryIO]:
    """Open a regular file, or a link to one. A pipe or a device may be endless or wait for ever.

    Raises:
        error: the file cannot be opened, or is not a regular file.
    """
    with os_errors_as(error, path):
        if "\0" in str(path):
            raise OSError(errno.EINVAL, "the name contains a zero byte")
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
            raise OSError(errno.EINVAL, f"{kind}, not a regular file")
        with open(path, "rb", opener=_open_without_waiting) as file:
            yield file


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # Windows has no such flag


def read_bytes(
    path: Path, error: type[MnistctlError] = DataError, limit_bytes: int = LIMIT_BYTES
) -> bytes:
    """Read a whole regular file.

    Raises:
        error: the file cannot be read, is not a regular file, or is larger than the limit.
    """
    with open_regular(path, error) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit_bytes:
            raise error(f"{path}: {size:,} bytes; at most {limit_bytes:,} are read")
        return _read(file, path, error, max(size, _UNKNOWN_SIZE_BYTES))


def read_text(
    path: Path, error: type[MnistctlError] = DataError, limit_bytes: int = TEXT_LIMIT_BYTES
) -> str:
    """Read a whole regular file of UTF-8 text; see `read_bytes`."""
    return decode(read_bytes(path, error, limit_bytes), path, error)


def read_stdin(error: type[MnistctlError] = DataError, limit_bytes: int = LIMIT_BYTES) -> bytes:
    """Read standard input to its end.

    Raises:
        error: it is closed, cannot be read, or is larger than the limit.
    """
    with os_errors_as(error, "standard input"):
        if sys.stdin is None:
            raise OSError(errno.EBADF, "closed")
        return _read(sys.stdin.buffer, "standard input", error, limit_bytes)


def decode(content: bytes, name: Path | str, error: type[MnistctlError]) -> str:
    """UTF-8 text from the content of a file.

    Raises:
        error: it is not UTF-8.
    """
    try:
        return content.decode()
    except UnicodeDecodeError as cause:
        raise error(f"{name}: not UTF-8 text") from cause


def _read(stream: BinaryIO, name: Path | str, error: type[MnistctlError], limit_bytes: int) -> bytes:
    content = stream.read(limit_bytes + 1) or b""  # None: a file of the kernel that would wait
    if len(content) > limit_bytes:
        raise error(f"{name}: more than {limit_bytes:,} bytes")
    return content


def unused_path(path: Path, is_used: Callable[[Path], bool] = Path.exists) -> Path:
    """The path itself, or the first of NAME-2, NAME-3, ... (with its suffix) that is not used."""
    candidate, number = path, 1
    while is_used(candidate):
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically.

    Raises:
        WriteError: the file cannot be written.
    """
    with replacing(path) as new:
        new.write_bytes(content)


def check_not_exists(path: Path) -> None:
    """Check that an output file or folder does not exist.

    Raises:
        UsageError: it exists.
    """
    if path.exists():
        raise UsageError(f"{path} exists; delete it or choose another name")


def make_folder(path: Path) -> None:
    """Make a folder and its parents, if they do not exist.

    Raises:
        WriteError: a folder cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path, error) from error


def remove(path: Path) -> None:
    """Remove a file, if it exists.

    Raises:
        WriteError: the file cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error) from error


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, with the keys in their order."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def append_line(path: Path, line: str) -> None:
    """Append a line to a log and flush it to disk. After a crash the last line may be incomplete.

    Raises:
        WriteError: the file cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8", newline="\n") as log:
            log.write(line + "\n")
            log.flush()
            os.fsync(log.fileno())
    except OSError as error:
        raise write_error(path, error) from error


def sha256(content: bytes | memoryview) -> str:
    """The SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def write_error(path: Path, error: OSError) -> WriteError:
    """The error for a failed write to `path`."""
    return WriteError(f"{path}: cannot be written: {error.strerror or error}")


def _flush_folder(folder: Path) -> None:
    """Make a rename durable. Windows cannot open folders, so nothing is done there."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot, but the rename is done
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
