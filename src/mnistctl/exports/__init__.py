"""Models in other formats, and whether they say the same."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from onnx import ModelProto

from mnistctl.exports import onnx, torch_program, triton
from mnistctl.models import formats
from mnistctl.models.metadata import Metadata
from mnistctl.models.predictor import Predictor
from mnistctl.nn.torch_predictor import TorchPredictor
from mnistctl.types import Images


class ExportPredictor(Predictor, Protocol):
    """An exported model as its runtime has it."""

    @property
    def graph_sha256(self) -> str | None:
        """Of its operations and weights, without the metadata."""
        ...


class Export(Protocol):
    """A model in another format, ready to be saved."""

    @property
    def details(self) -> dict[str, Any]:
        """What the metadata are to say of the file's kind."""
        ...

    def save(self, path: Path, metadata: Metadata) -> None:
        """Write the file or the folder."""
        ...

    def open(self, path: Path) -> ExportPredictor:
        """What was saved, in the runtime that is to run it."""
        ...


class Exporter:
    """One model, in as many formats as are wanted.

    Args:
        reference: the model, on the CPU.
        opset: one of `formats.IR_VERSIONS`.
        input_kind: one of `formats.INPUTS`.
        training_images: gives images of training, uint8 (N, 28, 28); asked only for int8.
    """

    def __init__(
        self,
        reference: TorchPredictor,
        *,
        opset: int,
        input_kind: str,
        training_images: Callable[[], Images],
    ) -> None:
        self._reference = reference
        self._opset = opset
        self._input_kind = input_kind
        self._training_images = training_images

    def build(self, format_name: str) -> Export:
        """The model in a format.

        Raises:
            MissingExtraError: what the format needs is not installed.
        """
        if format_name == "torch":
            return torch_program.TorchProgram(self._reference, input_kind=self._input_kind)
        if format_name == "triton":
            return triton.TritonFolder(self._float32)
        if format_name == "onnx-fp16":
            return onnx.OnnxFile(self._graph(half=True))
        if format_name == "onnx-int8":
            from mnistctl.exports import int8  # 0.3 s

            images = self._training_images()
            quantized = int8.quantize(self._float32, images, input_kind=self._input_kind)
            return onnx.OnnxFile(quantized)
        if format_name == formats.OPENVINO:
            from mnistctl.exports import openvino  # an extra

            return openvino.OpenVinoFolder(self._float32)
        return onnx.OnnxFile(self._float32)

    @cached_property
    def _float32(self) -> ModelProto:
        return self._graph()

    def _graph(self, *, half: bool = False) -> ModelProto:
        return onnx.build(self._reference, opset=self._opset, input_kind=self._input_kind, half=half)
