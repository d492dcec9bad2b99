"""onnxruntime behind the Predictor protocol."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from mnistctl import formats, onnx_safety
from mnistctl.errors import ModelError
from mnistctl.metadata import KEY, Metadata
from mnistctl.predictor import Images, Outputs

INPUT_NAME = "images"
_SIGNATURES = {  # type and number of sizes
    ("tensor(uint8)", 3): formats.UINT8,
    ("tensor(float)", 4): formats.FLOAT32,
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
        found = [(item.name, item.type, len(item.shape)) for item in inputs]
        names = tuple(item.name for item in self._session.get_outputs())
        kind = _SIGNATURES.get(found[0][1:]) if len(found) == 1 else None
        if kind is None or found[0][0] != INPUT_NAME or names != Outputs._fields:
            raise ModelError(
                f"{path}: takes {found} and gives {list(names)}, expected one input "
                f"'{INPUT_NAME}' uint8 (batch, 28, 28) and {list(Outputs._fields)}"
            )
        self._input_kind = kind

    @property
    def threads(self) -> int:
        """See `predictor.Predictor`: by itself onnxruntime takes one for each core."""
        return os.cpu_count() or 1

    def __call__(self, images: Images) -> Outputs:
        """See `predictor.Predictor`."""
        feed = {INPUT_NAME: as_input(images, self._input_kind)}
        return Outputs(*self._session.run(Outputs._fields, feed))


def as_input(images: Images, input_kind: str) -> npt.NDArray[Any]:
    """Images, uint8 (N, 28, 28), as an exported model takes them: see `formats.INPUTS`."""
    if input_kind == formats.FLOAT32:
        return images[:, None].astype(np.float32) / np.float32(255)
    return images
