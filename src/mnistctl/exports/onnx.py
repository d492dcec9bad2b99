"""The format `onnx`: a self-contained ONNX file in float32."""

import json
from pathlib import Path

import onnx

from mnistctl.exports.graph import Source
from mnistctl.models.metadata import KEY, Metadata
from mnistctl.models.onnx_predictor import OnnxPredictor


class OnnxFile:
    """An ONNX file; see `exports.Export`."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model

    @property
    def details(self) -> dict[str, int]:
        """See `exports.Export`."""
        return {"opset": self._model.opset_import[0].version, "ir_version": self._model.ir_version}

    def save(self, path: Path, metadata: Metadata) -> None:
        """See `exports.Export`."""
        onnx.helper.set_model_props(self._model, {KEY: json.dumps(metadata.to_json())})
        path.write_bytes(self._model.SerializeToString())

    def open(self, path: Path) -> OnnxPredictor:
        """See `exports.Export`."""
        return OnnxPredictor(path)


def build(source: Source) -> OnnxFile:
    """Build the export."""
    return OnnxFile(source.graph)
