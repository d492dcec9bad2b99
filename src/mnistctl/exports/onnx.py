"""The format `onnx`: a self-contained ONNX file in float32."""

import json
from pathlib import Path

import onnx

from mnistctl.exports.graph import Source
from mnistctl.exports.page_graph import PageSource
from mnistctl.models.metadata import KEY, Metadata
from mnistctl.models.onnx_page_predictor import OnnxPagePredictor
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


class OnnxPageFile:
    """An ONNX file of a model for numbers; see `exports.Export`."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._file = OnnxFile(model)

    @property
    def details(self) -> dict[str, int]:
        """See `exports.Export`."""
        return self._file.details

    def save(self, path: Path, metadata: Metadata) -> None:
        """See `exports.Export`."""
        self._file.save(path, metadata)

    def open(self, path: Path) -> OnnxPagePredictor:
        """See `exports.Export`."""
        return OnnxPagePredictor(path)


def build(source: Source | PageSource) -> OnnxFile | OnnxPageFile:
    """Build the export."""
    if isinstance(source, PageSource):
        return OnnxPageFile(source.graph)
    return OnnxFile(source.graph)
