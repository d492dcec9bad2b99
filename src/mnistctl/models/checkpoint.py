"""Checkpoints: one safetensors file with the weights and everything there is to know about them.

PictureResult and verifying one takes NumPy alone.
"""

from dataclasses import dataclass
from pathlib import Path

from mnistctl.errors import ModelError, UsageError
from mnistctl.models import hashed_safetensors
from mnistctl.models.hashed_safetensors import Tensors
from mnistctl.models.metadata import Metadata
from mnistctl.settings import architectures


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
        own = architectures.custom_source(named)
        if own is not None and arch is None:
            raise ModelError(
                f"{self.path}: its net is a class of somebody's own, and opening a model runs no code "
                f"by itself; if you trust the file, add --arch {named}"
            )
        given = architectures.custom_source(arch or "")
        if arch is not None and arch != named and not (own and given and given[1] == own[1]):
            raise UsageError(f"--arch {arch}: {self.path} is a '{named}'")
        return named if arch is None else arch


def save(path: Path, tensors: Tensors, metadata: Metadata) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        WriteError: it cannot be written.
    """
    hashed_safetensors.save(path, tensors, metadata.to_json())


def load(path: Path) -> Checkpoint:
    """Open a checkpoint and verify it.

    Raises:
        ModelError: unreadable, not one of this program's checkpoints, or changed since it was
            written.
    """
    found = hashed_safetensors.load(path)
    try:
        metadata = Metadata.from_json(found.values)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return Checkpoint(path, metadata, found.tensors, found.sha256)


def is_checkpoint(beginning: bytes) -> bool:
    """Whether a file that begins with these bytes (9 or more) is a safetensors file."""
    return len(beginning) > 8 and beginning[8:9] == b"{"
