"""Every write goes through here: a file is there whole, or not at all.

A new file is written beside its place under a temporary name, flushed to disk, renamed over its
place, and the folder flushed: after a crash or a full disk either the old content stands or the new.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mnistctl.errors import UsageError, WriteError

TEMPORARY_SUFFIX = ".partial"


@contextlib.contextmanager
def replacing(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on leaving, flush it and rename it to `path`.

    Leaving by an exception removes what is temporary and leaves `path` as it was.

    Args:
        path: of the file, or the folder.
        folder: whether it is a folder, which whoever calls makes. One that is there is replaced, which
            takes two renames: killed between them, it lies beside its place under another name.

    Raises:
        WriteError: it cannot be written (read-only, full, no permission).
    """
    place = path.resolve()  # a link stays a link
    if place.exists() and not (place.is_dir() if folder else place.is_file()):
        kind = "a folder" if folder else "a regular file"
        raise WriteError(f"{path}: cannot be written: not {kind}")
    temporary = place.with_name(f".{place.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        for file in (it for it in (temporary, *temporary.rglob("*")) if it.is_file()):
            with file.open("rb+") as written:
                os.fsync(written.fileno())
        if folder and place.exists():  # the system replaces a file by a file only
            old = temporary.with_name(f".{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
            os.replace(place, old)
            try:
                os.replace(temporary, place)
            except OSError:
                os.replace(old, place)
                raise
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(temporary, place)
        _flush_folder(place.parent)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            if temporary.is_dir():
                shutil.rmtree(temporary)
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file, or nothing.

    Raises:
        WriteError: the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def check_new(path: Path) -> None:
    """Check that an output that somebody named is not there yet.

    Raises:
        UsageError: it is.
    """
    if path.exists():
        raise UsageError(f"{path} exists; delete it or choose another name")


def make_folder(path: Path) -> None:
    """Make a folder, and those it is in, if they are not there.

    Raises:
        WriteError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path, error) from error


def remove(path: Path) -> None:
    """Remove a file if it is there.

    Raises:
        WriteError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error) from error


def remove_partials(folder: Path) -> None:
    """Remove what killed writers left in a folder; call it while nobody else may write there."""
    for stray in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        with contextlib.suppress(OSError):
            if stray.is_dir():
                shutil.rmtree(stray)
            else:
                stray.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people: indented, in the order given, newline at the end."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def append_line(path: Path, line: str) -> None:
    """Add one line to a log and flush it to disk; a reader may meet at most one torn last line.

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
    """SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def write_error(path: Path, error: OSError) -> WriteError:
    """The one-line error for a write that failed, naming the file it was for."""
    return WriteError(f"{path}: cannot be written: {error.strerror or error}")


def _flush_folder(folder: Path) -> None:
    """Make a rename durable, on systems where a folder can be opened (Windows cannot)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot; the rename is done
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
