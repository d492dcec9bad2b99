"""Read and write a dataset's raw files, and check that they are the published ones."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from mnistctl.datasets import idx
from mnistctl.datasets.catalog import RawFile
from mnistctl.errors import DataError
from mnistctl.system import files


@dataclass(frozen=True)
class RawContent:
    """The bytes of a raw file."""

    content: bytes
    sha256: str
    verified: bool  # whether a published hash confirms them; if not, their structure was checked


def read(path: Path, file: RawFile, *, fix: str = "") -> RawContent:
    """Read a raw file and check its size and its hash, or its structure if no hash is available.

    The hash is the published one, or the one recorded beside the file, or that of the content of the
    published archive beside the file.

    Args:
        path: the raw file.
        file: the expected size and hashes.
        fix: what the user can do about a damaged file, for the error; "": nothing.

    Raises:
        DataError: the file cannot be read, or does not have the expected content.
    """
    content = files.read_bytes(path, limit_bytes=files.LARGE_LIMIT_BYTES)
    expected = file.sha256 or _recorded_sha256(path) or _archived_sha256(path, file)
    sha256 = files.sha256(content)
    if len(content) != file.size_bytes or expected not in (None, sha256):
        mismatch = _mismatch(content, sha256, file, expected)
        raise DataError(f"{path}: damaged: {mismatch}" + (f"; {fix}" if fix else ""))
    if expected is None:
        idx.parse(content, path.name)
    return RawContent(content, sha256, verified=expected is not None)


def unpack(content: bytes, file: RawFile, *, name: str) -> RawContent:
    """Check the bytes of a raw file or of its archive, from any source; unpack an archive.

    Args:
        content: the raw file, or its gzip archive.
        file: the expected size and hashes.
        name: the name of the source, for errors.

    Raises:
        DataError: the bytes are not those of the file.
    """
    verified = file.sha256 is not None
    if content[:2] == idx.GZIP_MAGIC:
        if file.archive_md5 is not None:
            md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
            if md5 != file.archive_md5:
                raise DataError(f"{name}: MD5 {md5}, expected {file.archive_md5}")
            verified = True
        content = idx.unpack_gzip(content, name=name, size_bytes=file.size_bytes)
    sha256 = files.sha256(content)
    if len(content) != file.size_bytes or file.sha256 not in (None, sha256):
        raise DataError(f"{name}: {_mismatch(content, sha256, file, file.sha256)}")
    if not verified:
        idx.parse(content, name)
    return RawContent(content, sha256, verified)


def write(path: Path, raw: RawContent, file: RawFile) -> None:
    """Write a raw file.

    If the catalog has no SHA-256 of it and `raw` is verified, record the SHA-256 beside the file. If
    `raw` is not verified, remove an old record.

    Raises:
        WriteError: a file cannot be written.
    """
    record = _record_path(path)
    if file.sha256 is None and raw.verified:
        # The record is written first: if the second write fails, the old file does not match the
        # record, counts as damaged, and is downloaded again.
        files.write_bytes(record, f"{raw.sha256}  {path.name}\n".encode())
    elif file.sha256 is None:
        files.remove(record)  # the new file would not match an old record
    files.write_bytes(path, raw.content)


def status(path: Path, file: RawFile) -> str | None:
    """The state of a raw file on disk.

    Returns:
        "present"; or "unverified": well-formed, but no hash to check it against; or None: it is
        missing or damaged.
    """
    try:
        return "present" if read(path, file).verified else "unverified"
    except DataError:
        return None


def _mismatch(content: bytes, sha256: str, file: RawFile, expected: str | None) -> str:
    suffix = f" with SHA-256 {expected[:12]}…" if expected else ""
    return (
        f"{len(content):,} bytes with SHA-256 {sha256[:12]}…, "
        f"expected {file.size_bytes:,} bytes{suffix}"
    )


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _recorded_sha256(path: Path) -> str | None:
    """The SHA-256 recorded beside a raw file, in the format of `sha256sum`."""
    try:
        match = re.match(r"[0-9a-f]{64}\b", files.read_text(_record_path(path)))
    except DataError:
        return None
    return match.group() if match else None


def _archived_sha256(path: Path, file: RawFile) -> str | None:
    """The SHA-256 of the content of the published archive, if that is beside the raw file."""
    archive = path.with_name(f"{path.name}.gz")
    if file.archive_md5 is None or not archive.is_file():
        return None
    try:
        return unpack(
            files.read_bytes(archive, limit_bytes=files.LARGE_LIMIT_BYTES), file, name=archive.name
        ).sha256
    except DataError:
        return None
