"""A graph in 8 bits: weights a channel each, activations by what training images make of them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from mnistctl.exports.onnx import tidy
from mnistctl.models.onnx_predictor import INPUT_NAME, as_input
from mnistctl.types import Images

_AT_ONCE = 100
_QUANTIZED = ["Conv", "Gemm", "MatMul", "MaxPool", "Relu", "Add"]


class _Images(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Images, some at a time."""

    def __init__(self, images: Images, input_kind: str) -> None:
        starts = range(0, len(images), _AT_ONCE)
        self._batches: Iterator[dict[str, Any]] = iter(
            [{INPUT_NAME: as_input(images[start : start + _AT_ONCE], input_kind)} for start in starts]
        )

    def get_next(self) -> dict[str, Any] | None:
        """The next batch, or None."""
        return next(self._batches, None)


def quantize(model: onnx.ModelProto, images: Images, *, input_kind: str) -> onnx.ModelProto:
    """The same graph with 8-bit integers inside; what goes in and comes out stays as it was.

    Args:
        model: in float32.
        images: of training, uint8 (N, 28, 28), that show which values occur.
        input_kind: one of `formats.INPUTS`.
    """
    with tempfile.TemporaryDirectory() as folder:
        original, prepared, finished = (
            Path(folder) / f"{name}.onnx" for name in ("original", "prepared", "finished")
        )
        onnx.save(model, original)
        quant_pre_process(original, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            finished,
            _Images(images, input_kind),
            per_channel=True,
            op_types_to_quantize=_QUANTIZED,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            # Logits, and what becomes `familiarity`, leave the range that training images show.
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
        )
        quantized = onnx.load(finished)
    made = onnx.ModelProto()
    made.CopyFrom(model)  # with its versions and its name
    made.graph.CopyFrom(quantized.graph)
    return tidy(made)
