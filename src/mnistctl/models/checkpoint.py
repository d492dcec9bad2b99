"""Checkpoints: safetensors files with the weights and the metadata of a model.

Reading and verifying a checkpoint needs only NumPy.
"""

from dataclasses import dataclass
from pathlib import Path

from mnistctl.errors import ModelError, UsageError
from mnistctl.models import hashed_safetensors
from mnistctl.models.hashed_safetensors import Tensors
from mnistctl.models.metadata import Metadata
from mnistctl.settings.architectures import Architecture


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint."""

    path: Path
    metadata: Metadata
    tensors: Tensors
    sha256: str

    def named_architecture(self, named: str, arch: str | None) -> str:
        """The architecture to build: the one in the metadata, or `arch` for a custom architecture.

        A file alone never runs code: the user has to name a custom architecture.

        Args:
            named: the architecture in the metadata of the model, or of a member of an ensemble.
            arch: the architecture that the user named, if any.

        Raises:
            ModelError: the architecture is custom, and the user has not named it.
            UsageError: `arch` is another architecture.
        """
        stored = Architecture.parse(named)
        if arch is None:
            if stored.is_custom:
                raise ModelError(
                    f"{self.path}: its architecture is custom, and mnistctl runs no code that "
                    f"only a file names; if you trust it, add --arch {named}"
                )
            return named
        is_same_class = stored.is_custom and Architecture.parse(arch).class_name == stored.class_name
        if arch != named and not is_same_class:
            raise UsageError(f"--arch {arch}: the architecture of {self.path} is '{named}'")
        return arch


def save(path: Path, tensors: Tensors, metadata: Metadata) -> None:
    """Write a checkpoint atomically.

    Raises:
        WriteError: the file cannot be written.
    """
    hashed_safetensors.save(path, tensors, metadata.to_json())


def load(path: Path) -> Checkpoint:
    """Read a checkpoint and verify it.

    Raises:
        ModelError: the file is unreadable, is not a checkpoint, or has changed since it was written.
    """
    values, tensors, sha256 = hashed_safetensors.load(path)
    try:
        metadata = Metadata.from_json(values)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return Checkpoint(path, metadata, tensors, sha256)


def is_checkpoint(beginning: bytes) -> bool:
    """Whether a file that starts with these bytes (9 or more) is a safetensors file."""
    return len(beginning) > 8 and beginning[8:9] == b"{"
