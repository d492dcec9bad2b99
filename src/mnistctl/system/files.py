"""Read and write files.

Every write except `append_line` is atomic: a file has its old content or its new content. A new file is
written in the same folder under a temporary name, flushed to disk and renamed. Then the folder is
flushed. A crash or a full disk leaves either the old file or the new one.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mnistctl.errors import DataError, MnistctlError, UsageError, WriteError

TEMPORARY_SUFFIX = ".partial"
BACKUP_SUFFIX = ".old"  # of a folder that is being replaced; `remove_partials` keeps it


@contextlib.contextmanager
def replacing(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the same folder. Afterwards flush it and rename it to `path`.

    After an exception the temporary file is removed and `path` is as it was.

    Args:
        path: the file or folder to write. A symlink stays; its target is replaced.
        folder: write a folder; the caller creates it at the yielded path. An existing folder is
            replaced in two renames. If the process is killed between them, the old folder is left as
            `.NAME.*.old`.

    Raises:
        WriteError: `path` cannot be written (read-only, disk full, no permission).
    """
    target = path.resolve()  # a symlink stays; its target is replaced
    if target.exists() and not (target.is_dir() if folder else target.is_file()):
        kind = "a folder" if folder else "a regular file"
        raise WriteError(f"{path}: cannot be written: not {kind}")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        for file in (temporary, *temporary.rglob("*")):
            if file.is_file():
                with file.open("rb+") as stream:
                    os.fsync(stream.fileno())
        _rename(temporary, target)
        _flush_folder(target.parent)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            if temporary.is_dir():
                shutil.rmtree(temporary)
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def os_errors_as(error: type[MnistctlError], path: Path) -> Iterator[None]:
    """Raise an OSError as `error`, with a one-line message that names `path`."""
    try:
        yield
    except OSError as cause:
        raise error(f"{path}: {cause.strerror or cause}") from cause


def read_bytes(path: Path, error: type[MnistctlError] = DataError) -> bytes:
    """Read a whole file.

    Raises:
        error: the file cannot be read.
    """
    with os_errors_as(error, path):
        return path.read_bytes()


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
    with replacing(path) as temporary:
        temporary.write_bytes(content)


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


def remove_partials(folder: Path) -> None:
    """Remove temporary files of killed processes. No other process may write to the folder now."""
    for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        with contextlib.suppress(OSError):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


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


def _rename(source: Path, target: Path) -> None:
    """Rename a file or folder, and replace an existing target."""
    if not (source.is_dir() and target.exists()):
        os.replace(source, target)
        return
    # A rename cannot replace a folder that is not empty.
    old = target.with_name(f".{target.name}.{secrets.token_hex(4)}{BACKUP_SUFFIX}")
    os.replace(target, old)
    try:
        os.replace(source, target)
    except OSError:
        os.replace(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


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
