"""The Predictor protocol with onnxruntime as the runtime."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mnistctl.errors import ModelError, one_line
from mnistctl.models import formats, onnx_safety
from mnistctl.models.metadata import KEY, Metadata
from mnistctl.models.predictor import Outputs, predict_all
from mnistctl.types import IMAGE_SIZE, Images

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported
import onnxruntime

INPUT_NAME = "images"
# Type and shape of the input, without the batch axis -> kind of input.
_INPUT_KINDS = {
    ("tensor(uint8)", (IMAGE_SIZE, IMAGE_SIZE)): formats.UINT8,
    ("tensor(float)", (1, IMAGE_SIZE, IMAGE_SIZE)): formats.FLOAT32,
}


class OnnxPredictor:
    """An exported model that onnxruntime runs on the CPU.

    Args:
        path: the ONNX file.
        trusted: skip the safety checks, for a file that is part of this package.

    Raises:
        ModelError: the file is unreadable, not ONNX, not safe to run, changed since its export, or not
            an export of this program.
    """

    def __init__(self, path: Path, *, trusted: bool = False) -> None:
        content = onnx_safety.read(path)
        checked = None if trusted else onnx_safety.check(content, name=path)
        self.graph_sha256 = checked and checked.graph_sha256
        self._max_batch = onnx_safety.MAX_MEMORY // checked.memory_per_image if checked else sys.maxsize
        self._path = path
        self._session = _start_session(content, path)
        entry = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        if entry is None:
            raise ModelError(
                f"{path}: an ONNX file, but not one that mnistctl made: no '{KEY}' metadata"
            )
        self.metadata = Metadata.of_export(entry, self.graph_sha256, name=path)
        self._input_kind = _check_signature(
            self._session, classes=len(self.metadata.class_names), path=path
        )

    @property
    def threads(self) -> int:
        """See `predictor.Predictor`. By default onnxruntime uses one thread per core."""
        return os.cpu_count() or 1

    def __call__(self, images: Images) -> Outputs:
        """See `predictor.Predictor`."""
        if len(images) > self._max_batch:
            return predict_all(self, images, batch_size=self._max_batch)
        feed = {INPUT_NAME: as_input(images, self._input_kind)}
        try:
            return Outputs(*self._session.run(Outputs._fields, feed))
        except Exception as error:  # onnxruntime's errors have no base class of their own
            raise ModelError(f"{self._path}: onnxruntime cannot run it ({one_line(error)})") from error


def as_input(images: Images, input_kind: str) -> npt.NDArray[Any]:
    """Convert images, uint8 (N, 28, 28), to the input of an exported model; see `formats.INPUTS`."""
    if input_kind == formats.FLOAT32:
        return images[:, None].astype(np.float32) / np.float32(255)
    return images


def _start_session(content: bytes, path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal errors only; the others are raised
    # onnxruntime must read the file as what was checked; it also detects formats other than ONNX.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no base class of their own
        raise ModelError(f"{path}: onnxruntime cannot load it ({one_line(error)})") from error


def _check_signature(session: onnxruntime.InferenceSession, *, classes: int, path: Path) -> str:
    """Check names, types and shapes of the input and the outputs.

    Returns:
        The kind of input, a key of `formats.INPUTS`.

    Raises:
        ModelError: they are not those of an export with `classes` classes.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    expected_outputs = [
        (name, "tensor(float)", shape)
        for name, shape in zip(Outputs._fields, ((classes,), (classes,), ()), strict=True)
    ]
    kind = _INPUT_KINDS.get((inputs[0].type, tuple(inputs[0].shape[1:]))) if inputs else None
    if (
        kind is None
        or len(inputs) != 1
        or inputs[0].name != INPUT_NAME
        or isinstance(inputs[0].shape[0], int)  # a fixed batch size
        or [(item.name, item.type, tuple(item.shape[1:])) for item in outputs] != expected_outputs
    ):
        signature = [(item.name, item.type, tuple(item.shape)) for item in (*inputs, *outputs)]
        inputs_allowed = " or ".join(layout for layout, _ in formats.INPUTS.values())
        raise ModelError(
            f"{path}: its inputs and outputs are {signature}, expected one input '{INPUT_NAME}', "
            f"{inputs_allowed}, and outputs {list(Outputs._fields)} of {classes} classes"
        )
    return kind
