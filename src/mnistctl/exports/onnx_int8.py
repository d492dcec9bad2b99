"""The format `onnx-int8`: an ONNX file with 8-bit weights (a scale per channel) and activations."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from mnistctl.exports.graph import Source, cleaned
from mnistctl.exports.onnx import OnnxFile
from mnistctl.models.onnx_predictor import INPUT_NAME, as_input
from mnistctl.types import Images

_BATCH_SIZE = 100  # images of calibration
_QUANTIZED = ["Conv", "Gemm", "MatMul", "MaxPool", "Relu", "Add"]


class _CalibrationImages(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Training images in batches: they show the range of each activation."""

    def __init__(self, images: Images, input_kind: str) -> None:
        starts = range(0, len(images), _BATCH_SIZE)
        self._batches: Iterator[dict[str, Any]] = iter(
            {INPUT_NAME: as_input(images[start : start + _BATCH_SIZE], input_kind)} for start in starts
        )

    def get_next(self) -> dict[str, Any] | None:
        """The next batch; None: there are no more."""
        return next(self._batches, None)


def build(source: Source) -> OnnxFile:
    """Build the export. The input and the outputs keep their types."""
    assert source.training_images is not None  # noqa: S101 - a mistake of the caller
    images = _CalibrationImages(source.training_images(), source.input_kind)
    with tempfile.TemporaryDirectory() as folder:
        original, prepared, quantized = (
            Path(folder) / f"{name}.onnx" for name in ("original", "prepared", "quantized")
        )
        onnx.save(source.graph, original)
        quant_pre_process(original, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            quantized,
            images,
            per_channel=True,
            op_types_to_quantize=_QUANTIZED,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            # Logits, and the input of `familiarity`, can exceed the range seen on training images.
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
        )
        graph = onnx.load(quantized).graph
    model = onnx.ModelProto()
    model.CopyFrom(source.graph)  # keeps its versions and its name
    model.graph.CopyFrom(graph)
    return OnnxFile(cleaned(model))
