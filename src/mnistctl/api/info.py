"""`info`: what a model file is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnistctl.api import models
from mnistctl.models import formats
from mnistctl.models.metadata import Metadata


@dataclass(frozen=True)
class ModelInfo:
    """What a model file is."""

    model: str
    format: str
    bytes: int
    signature: dict[str, str]
    metadata: Metadata

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the metadata's own keys beside the file's."""
        about = {name: value for name, value in vars(self).items() if name != "metadata"}
        return about | self.metadata.to_json()


def info(model: str | Path | None = None) -> ModelInfo:
    """Say what a checkpoint or an exported file is, without loading its net.

    Raises:
        ModelError: no such model, or it cannot be opened.
    """
    path = models.find(model)
    format_name, metadata = models.describe(path)
    classes = len(metadata.class_names)
    signature = {
        "images": formats.INPUTS[metadata.export.get("input", formats.UINT8)][0],
        "logits": f"float32 (batch, {classes})",
        "probabilities": f"float32 (batch, {classes})",
        "familiarity": "float32 (batch,)",
    }
    return ModelInfo(str(path), format_name, models.size_of(path), signature, metadata)
