"""Raw files as they lie on disk: whether they are the published ones."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from mnistctl.datasets import idx
from mnistctl.datasets.catalog import RawFile
from mnistctl.errors import DataError
from mnistctl.system import files


@dataclass(frozen=True)
class Raw:
    """A raw file's bytes, and whether a published hash vouches for them."""

    content: bytes
    sha256: str
    verified: bool


def read(path: Path, file: RawFile, *, mend: str) -> Raw:
    """Read a raw file and verify it by its SHA-256, published or recorded, or by its archive.

    Args:
        path: of the file.
        file: what it should be.
        mend: what to do if it is not, for the error.

    Raises:
        DataError: unreadable, or not the bytes it should have.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    expected = file.sha256 or _recorded(path) or _archived(path, file)
    found = files.sha256(content)
    if len(content) != file.size_bytes or expected not in (None, found):
        raise DataError(
            f"{path}: damaged: {len(content):,} bytes with SHA-256 {found[:12]}…, expected "
            f"{file.size_bytes:,} with {(expected or 'another')[:12]}…; {mend}"
        )
    return Raw(content, found, verified=expected is not None)


def unpack(content: bytes, file: RawFile, *, name: str) -> Raw:
    """The raw file in what was fetched or found: its archive, or the file itself.

    Args:
        content: the bytes.
        file: what they should be.
        name: what to call them in an error.

    Raises:
        DataError: they are something else.
    """
    verified = file.sha256 is not None
    if content[:2] == idx.GZIP_MAGIC:
        if file.archive_md5 is not None:
            found = hashlib.md5(content, usedforsecurity=False).hexdigest()
            if found != file.archive_md5:
                raise DataError(f"{name}: MD5 {found}, expected {file.archive_md5}")
            verified = True
        content = idx.unpack_gzip(content, name=name, size_bytes=file.size_bytes)
    sha256 = files.sha256(content)
    if file.sha256 is not None and sha256 != file.sha256:
        raise DataError(
            f"{name}: {len(content):,} bytes with SHA-256 {sha256[:12]}…, "
            f"expected {file.size_bytes:,} with {file.sha256[:12]}…"
        )
    if not verified:
        _check_structure(content, file, name=name)
    return Raw(content, sha256, verified)


def write(path: Path, raw: Raw, file: RawFile) -> None:
    """Put a raw file in its place; and its SHA-256 beside it, where that is not in the catalog.

    Raises:
        WriteError: it cannot be written.
    """
    record = _record_path(path)
    if file.sha256 is None and raw.verified:
        # First: should the next line not come to its end, the old file counts as damaged, and is
        # fetched again.
        files.write_bytes(record, f"{raw.sha256}  {path.name}\n".encode())
    elif file.sha256 is None:
        files.remove(record)  # an old one would call the new file damaged
    files.write_bytes(path, raw.content)


def status(path: Path, file: RawFile) -> str | None:
    """How a raw file lies there: "present", "unverified" (sound, but nothing vouches), or None."""
    try:
        found = read(path, file, mend="")
        if not found.verified:
            _check_structure(found.content, file, name=path.name)
    except DataError:
        return None
    return "present" if found.verified else "unverified"


def _check_structure(content: bytes, file: RawFile, *, name: str) -> None:
    if len(content) != file.size_bytes:
        raise DataError(f"{name}: {len(content):,} bytes, expected {file.size_bytes:,}")
    idx.parse(content, name)


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _recorded(path: Path) -> str | None:
    """The SHA-256 recorded beside a raw file, in the format of `sha256sum`."""
    try:
        found = re.match(r"[0-9a-f]{64}\b", _record_path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return found.group() if found else None


def _archived(path: Path, file: RawFile) -> str | None:
    """The SHA-256 that the published archive beside a raw file has inside, if it lies there."""
    archive = path.with_name(f"{path.name}.gz")
    if file.archive_md5 is None or not archive.is_file():
        return None
    try:
        return unpack(archive.read_bytes(), file, name=archive.name).sha256
    except (OSError, DataError):
        return None
