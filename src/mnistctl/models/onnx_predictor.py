"""onnxruntime behind the Predictor protocol."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from mnistctl.errors import ModelError
from mnistctl.models import formats, onnx_safety
from mnistctl.models.metadata import KEY, Metadata
from mnistctl.models.predictor import Outputs
from mnistctl.types import Images

INPUT_NAME = "images"
_SIGNATURES = {  # type, and the sizes after that of the batch
    ("tensor(uint8)", (28, 28)): formats.UINT8,
    ("tensor(float)", (1, 28, 28)): formats.FLOAT32,
}


class OnnxPredictor:
    """An exported model, run by onnxruntime on the CPU.

    Args:
        path: the file.
        trusted: whether it need not be checked, because it came with this program.

    Raises:
        ModelError: unreadable, not ONNX, not safe to run, changed since it was made, or not one of
            this program's exports.
    """

    def __init__(self, path: Path, *, trusted: bool = False) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised, and said once
        # What was checked is what runs: by itself it also takes formats of its own.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        content = onnx_safety.read(path)
        self.graph_sha256 = None if trusted else onnx_safety.check(content, name=path)
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own have no base class in common
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{path}: onnxruntime cannot load it ({reason})") from error
        entry = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        if entry is None:
            raise ModelError(
                f"{path}: an ONNX file, but not one that mnistctl made: no '{KEY}' metadata"
            )
        self.metadata = Metadata.of_export(entry, self.graph_sha256, name=path)
        inputs = self._session.get_inputs()
        outputs = self._session.get_outputs()
        found = [(item.name, item.type, tuple(item.shape)) for item in (*inputs, *outputs)]
        kind = _SIGNATURES.get((inputs[0].type, tuple(inputs[0].shape[1:]))) if inputs else None
        classes = len(self.metadata.class_names)
        wanted = [
            (name, "tensor(float)", sizes)
            for name, sizes in zip(Outputs._fields, ((classes,), (classes,), ()), strict=True)
        ]
        given = [(name, type_, sizes[1:]) for name, type_, sizes in found[1:]]
        if (
            kind is None
            or len(inputs) != 1
            or inputs[0].name != INPUT_NAME
            or isinstance(inputs[0].shape[0], int)
            or given != wanted
        ):
            raise ModelError(
                f"{path}: takes and gives {found}, expected one input '{INPUT_NAME}' uint8 (batch, "
                f"28, 28), and of {classes} classes {list(Outputs._fields)}"
            )
        self._path, self._input_kind = path, kind

    @property
    def threads(self) -> int:
        """See `predictor.Predictor`: by itself onnxruntime takes one for each core."""
        return os.cpu_count() or 1

    def __call__(self, images: Images) -> Outputs:
        """See `predictor.Predictor`."""
        feed = {INPUT_NAME: as_input(images, self._input_kind)}
        try:
            return Outputs(*self._session.run(Outputs._fields, feed))
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{self._path}: onnxruntime cannot run it ({reason})") from error


def as_input(images: Images, input_kind: str) -> npt.NDArray[Any]:
    """Images, uint8 (N, 28, 28), as an exported model takes them: see `formats.INPUTS`."""
    if input_kind == formats.FLOAT32:
        return images[:, None].astype(np.float32) / np.float32(255)
    return images
