"""Safetensors files that contain a SHA-256 of their own content, which the format itself lacks.

The hash covers the metadata (as canonical JSON, without the hash) and the name, type, shape and bytes
of every tensor. Reading and verifying a file needs only NumPy.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mnistctl.errors import ModelError, one_line
from mnistctl.models.metadata import KEY
from mnistctl.system import files, records

_HASH_KEY = "sha256"
_MAX_HEADER_BYTES = 4 << 20
_MAX_BYTES = 4 << 30  # the largest net of torchvision, regnet_y_128gf, has 2.6 GB

Tensors = Mapping[str, npt.NDArray[Any]]


class HashedTensors(NamedTuple):
    """The content of a verified file."""

    values: dict[str, Any]  # the metadata
    tensors: Tensors
    sha256: str


def save(path: Path, tensors: Tensors, values: Mapping[str, Any]) -> None:
    """Write a file atomically.

    Args:
        path: the file.
        tensors: the tensors by name.
        values: the metadata, plain values.

    Raises:
        WriteError: the file cannot be written.
    """
    from safetensors.numpy import save as to_safetensors

    entry = json.dumps({**values, _HASH_KEY: _signature(values, tensors)})
    files.write_bytes(path, to_safetensors(dict(tensors), metadata={KEY: entry}))


def load(path: Path) -> HashedTensors:
    """Read a file and verify it.

    Raises:
        ModelError: the file is unreadable, was not written by `save`, has changed since, or contains
            values that are not finite.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_safetensors

    header = _read_header(path)  # first: a file that is not a model is not read to its end
    content = files.read_bytes(path, ModelError, _MAX_BYTES)
    try:
        text = header["__metadata__"][KEY]
        values = records.parse(text)
        is_canonical = json.dumps(values) == text  # other spellings would have the same hash
        stored = values.pop(_HASH_KEY)
    except (KeyError, TypeError) as error:
        raise ModelError(
            f"{path}: a safetensors file that was not written by mnistctl (no '{KEY}' metadata)"
        ) from error
    except ValueError as error:
        raise ModelError(f"{path}: its metadata cannot be read ({one_line(error)})") from error
    try:
        tensors = from_safetensors(content)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: damaged safetensors file ({error})") from error
    if not is_canonical or stored != _signature(values, tensors):
        raise ModelError(f"{path}: damaged: its SHA-256 is not the one that was stored with it")
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ModelError(f"{path}: tensor '{name}' contains values that are not finite")
    return HashedTensors(values, tensors, stored)


def select_by_prefix(tensors: Tensors, prefix: str) -> dict[str, npt.NDArray[Any]]:
    """The tensors whose names start with the prefix, under the rest of their names."""
    return {
        name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)
    }


def _read_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file. The library returns no metadata when it loads bytes."""
    with files.open_regular(path, ModelError) as file:
        length = path.stat().st_size
        size = struct.unpack("<Q", file.read(8))[0] if length >= 8 else 0
        if not 2 <= size <= min(_MAX_HEADER_BYTES, length - 8):
            raise ModelError(f"{path}: incomplete safetensors file ({length:,} bytes)")
        text = file.read(size)
    try:
        return records.parse(text)
    except ValueError as error:
        raise ModelError(f"{path}: damaged safetensors header") from error


def _signature(values: Mapping[str, Any], tensors: Tensors) -> str:
    """SHA-256 of the canonical metadata and of all tensors, sorted by name."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(np.ascontiguousarray(tensor).tobytes())
    return digest.hexdigest()
