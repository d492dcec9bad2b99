"""Safetensors files that know their own SHA-256: over what is said of the tensors, and over them.

Reading and verifying one takes NumPy alone. The hash covers the metadata (as canonical JSON, without
the hash) and every tensor's name, type, shape and bytes; safetensors itself has none.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mnistctl.errors import ModelError
from mnistctl.models.metadata import KEY
from mnistctl.system import files

_HASH_KEY = "sha256"
_MAX_HEADER_BYTES = 4 << 20

Tensors = Mapping[str, npt.NDArray[Any]]


class HashedTensors(NamedTuple):
    """What a file that was verified holds."""

    values: dict[str, Any]  # its metadata
    tensors: Tensors
    sha256: str


def save(path: Path, tensors: Tensors, values: Mapping[str, Any]) -> None:
    """Write a file, whole or not at all.

    Args:
        path: where.
        tensors: their names and values.
        values: the metadata, of plain values.

    Raises:
        WriteError: it cannot be written.
    """
    from safetensors.numpy import save as to_safetensors

    entry = json.dumps({**values, _HASH_KEY: _signature(values, tensors)})
    files.write_bytes(path, to_safetensors(dict(tensors), metadata={KEY: entry}))


def load(path: Path) -> HashedTensors:
    """Open a file and verify it.

    Raises:
        ModelError: unreadable, not one of this program's, changed since it was written, or it holds
            what is not finite.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_safetensors

    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from error
    header = _read_header(content, path)
    try:
        text = header["__metadata__"][KEY]
        values = json.loads(text)
        is_canonical = json.dumps(values) == text  # else another text would mean the same
        stored = values.pop(_HASH_KEY)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{path}: a safetensors file, but not one that mnistctl made: no '{KEY}' metadata"
        ) from error
    try:
        tensors = from_safetensors(content)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: damaged safetensors file ({error})") from error
    if not is_canonical or stored != _signature(values, tensors):
        raise ModelError(f"{path}: damaged: its SHA-256 is not the one stored when it was written")
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ModelError(f"{path}: {name} holds values that are not finite")
    return HashedTensors(values, tensors, stored)


def _read_header(content: bytes, path: Path) -> dict[str, Any]:
    """A safetensors file's header, read here because the library gives no metadata for bytes."""
    size = struct.unpack_from("<Q", content)[0] if len(content) >= 8 else 0
    if not 2 <= size <= min(_MAX_HEADER_BYTES, len(content) - 8):
        raise ModelError(f"{path}: not a whole safetensors file ({len(content):,} bytes)")
    try:
        header = json.loads(content[8 : 8 + size])
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: damaged safetensors header") from error
    if not isinstance(header, dict):
        raise ModelError(f"{path}: damaged safetensors header")
    return header


def _signature(values: Mapping[str, Any], tensors: Tensors) -> str:
    """SHA-256 over canonical metadata and all tensors in the order of their names."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(np.ascontiguousarray(tensor).tobytes())
    return digest.hexdigest()
