"""The format `triton`: a model repository for NVIDIA Triton, an ONNX file and its configuration."""

from pathlib import Path

from mnistctl.exports.graph import Source
from mnistctl.exports.onnx import OnnxFile
from mnistctl.models import formats
from mnistctl.models.metadata import Metadata
from mnistctl.models.onnx_predictor import INPUT_NAME, OnnxPredictor

NAME = "reader"  # of the model, on the server
_MAX_BATCH = 256
_MAX_DELAY_US = 1_000  # how long a request waits for others to form a batch


class TritonFolder(OnnxFile):
    """A model repository; see `exports.Export`."""

    def save(self, path: Path, metadata: Metadata) -> None:
        """See `exports.Export`."""
        file = path / NAME / formats.TRITON_FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        super().save(file, metadata)
        text = _config(metadata.export["input"], classes=len(metadata.class_names))
        (path / NAME / "config.pbtxt").write_text(text, encoding="utf-8")

    def open(self, path: Path) -> OnnxPredictor:
        """See `exports.Export`."""
        return super().open(path / NAME / formats.TRITON_FILE)


def build(source: Source) -> TritonFolder:
    """Build the export."""
    return TritonFolder(source.graph)


def _config(input_kind: str, *, classes: int) -> str:
    """The model's configuration, with dynamic batching.

    Source: Triton's model_config.proto.
    """
    inputs = {formats.UINT8: ("TYPE_UINT8", "28, 28"), formats.FLOAT32: ("TYPE_FP32", "1, 28, 28")}
    dtype, dims = inputs[input_kind]
    outputs = ",\n".join(
        f'  {{ name: "{name}" data_type: TYPE_FP32 dims: [ {size} ]{reshape} }}'
        for name, size, reshape in (
            ("logits", classes, ""),
            ("probabilities", classes, ""),
            ("familiarity", 1, " reshape: { shape: [ ] }"),
        )
    )
    return f"""name: "{NAME}"
backend: "onnxruntime"
max_batch_size: {_MAX_BATCH}
input [
  {{ name: "{INPUT_NAME}" data_type: {dtype} dims: [ {dims} ] }}
]
output [
{outputs}
]
dynamic_batching {{ max_queue_delay_microseconds: {_MAX_DELAY_US} }}
"""
