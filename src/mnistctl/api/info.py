"""`info`: describe a model file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnistctl.api import models
from mnistctl.models import formats
from mnistctl.models.metadata import Metadata
from mnistctl.models.predictor import Outputs, PageOutputs
from mnistctl.settings.architectures import NUMBERS
from mnistctl.types import Result


@dataclass(frozen=True)
class ModelInfo(Result):
    """A model file. Its JSON also has the keys of the metadata."""

    name: str  # the name of the run, "bundled", or the path
    model: str  # path of the file
    format: str  # safetensors or an export format
    bytes: int  # size of all its files
    signature: dict[str, str]  # input and outputs: name -> type and shape
    metadata: Metadata  # everything the file records about the model

    def to_json(self) -> dict[str, Any]:
        """Plain values; the fields of the metadata are keys of their own."""
        values = super().to_json()
        metadata: dict[str, Any] = values.pop("metadata")
        return values | metadata


def info(model: str | Path | None = None) -> ModelInfo:
    """Describe a checkpoint or an exported file without building its net.

    Args:
        model: see `models.find_model`.

    Raises:
        ModelError: the model was not found or cannot be opened.
    """
    path = models.find_model(model)
    format_name, metadata = models.describe(path)
    return ModelInfo(
        models.name_of(path),
        str(path),
        format_name,
        models.size_of(path),
        _signature(metadata),
        metadata,
    )


def _signature(metadata: Metadata) -> dict[str, str]:
    classes = len(metadata.class_names)
    if metadata.task == NUMBERS:
        layouts = [f"float32 (batch, {size}, height / 4, width / 4)" for size in (classes, 4)]
        return {"pages": formats.PAGES[0], **dict(zip(PageOutputs._fields, layouts, strict=True))}
    layouts = [*[f"float32 (batch, {classes})"] * 2, "float32 (batch,)"]
    inputs = formats.INPUTS[models.input_of(metadata)][0]
    return {"images": inputs, **dict(zip(Outputs._fields, layouts, strict=True))}
