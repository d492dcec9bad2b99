"""Checkpoints: one safetensors file with the weights and everything there is to know about them.

Reading and verifying one takes NumPy alone. The stored SHA-256 covers the metadata (as canonical
JSON, without the hash) and every tensor's name, type, shape and bytes; safetensors itself has none.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mnistctl import architectures, files
from mnistctl.errors import ModelError, UsageError
from mnistctl.metadata import KEY, Metadata

_HASH_KEY = "sha256"
_MAX_HEADER_BYTES = 4 << 20

Tensors = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was opened and verified."""

    path: Path
    metadata: Metadata
    tensors: Tensors
    sha256: str

    def named_architecture(self, named: str, arch: str | None) -> str:
        """The architecture to build a net by: the one it names, or for a person's own class `arch`.

        Opening a file runs no code that only the file names.

        Args:
            named: that of the model, or of a member of an ensemble.
            arch: what the user said, if anything.

        Raises:
            ModelError: the net is a person's own class, and nobody has named it again.
            UsageError: `arch` is not the net's.
        """
        own = architectures.own_source(named)
        if own is not None and arch is None:
            raise ModelError(
                f"{self.path}: its net is a class of somebody's own, and opening a model runs no code "
                f"by itself; if you trust the file, add --arch {named}"
            )
        given = architectures.own_source(arch or "")
        if arch is not None and arch != named and not (own and given and given[1] == own[1]):
            raise UsageError(f"--arch {arch}: {self.path} is a '{named}'")
        return named if arch is None else arch


def save(path: Path, tensors: Tensors, metadata: Metadata) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        WriteError: it cannot be written.
    """
    from safetensors.numpy import save as to_safetensors

    values = metadata.to_json()
    entry = json.dumps({**values, _HASH_KEY: _signature(values, tensors)})
    files.write_bytes(path, to_safetensors(dict(tensors), metadata={KEY: entry}))


def load(path: Path) -> Checkpoint:
    """Open a checkpoint and verify it.

    Raises:
        ModelError: unreadable, not one of this program's checkpoints, or changed since it was
            written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_safetensors

    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from error
    header = _read_header(content, path)
    try:
        entry = json.loads(header["__metadata__"][KEY])
        stored = entry.pop(_HASH_KEY)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{path}: a safetensors file, but not one that mnistctl made: no '{KEY}' metadata"
        ) from error
    try:
        metadata = Metadata.from_json(entry)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    try:
        tensors = from_safetensors(content)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: damaged safetensors file ({error})") from error
    if stored != _signature(entry, tensors):
        raise ModelError(f"{path}: damaged: its SHA-256 is not the one stored when it was written")
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ModelError(f"{path}: {name} holds values that are not finite")
    return Checkpoint(path, metadata, tensors, stored)


def is_checkpoint(beginning: bytes) -> bool:
    """Whether a file that begins with these bytes (9 or more) is a safetensors file."""
    return len(beginning) > 8 and beginning[8:9] == b"{"


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
