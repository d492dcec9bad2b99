"""A model repository for NVIDIA's Triton: an ONNX file, and how the server is to run it."""

from pathlib import Path

from mnistctl.exports.onnx import OnnxFile
from mnistctl.models import formats
from mnistctl.models.metadata import Metadata
from mnistctl.models.onnx_predictor import INPUT_NAME, OnnxPredictor

NAME = "reader"  # what the server calls the model
_MAX_BATCH = 256
_MAX_DELAY = 1_000  # microseconds that a request waits for others


class TritonFolder(OnnxFile):
    """The folder, of an ONNX graph."""

    def save(self, path: Path, metadata: Metadata) -> None:
        """Write the repository."""
        file = path / NAME / formats.TRITON_FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        super().save(file, metadata)
        text = config(metadata.export["input"], classes=len(metadata.class_names))
        (path / NAME / "config.pbtxt").write_text(text, encoding="utf-8")

    def open(self, path: Path) -> OnnxPredictor:
        """See `OnnxFile`."""
        return super().open(path / NAME / formats.TRITON_FILE)


def config(input_kind: str, *, classes: int) -> str:
    """The server's configuration of the model, batches gathered as they come.

    Source: Triton's model_config.proto.
    """
    takes = {formats.UINT8: ("TYPE_UINT8", "28, 28"), formats.FLOAT32: ("TYPE_FP32", "1, 28, 28")}
    kind, dims = takes[input_kind]
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
  {{ name: "{INPUT_NAME}" data_type: {kind} dims: [ {dims} ] }}
]
output [
{outputs}
]
dynamic_batching {{ max_queue_delay_microseconds: {_MAX_DELAY} }}
"""
