"""onnxruntime behind the Predictor protocol."""

from pathlib import Path

import onnxruntime

from mnistctl.errors import ModelError
from mnistctl.metadata import KEY, Metadata
from mnistctl.predictor import Images, Outputs

INPUT_NAME = "images"


class OnnxPredictor:
    """An exported model, run by onnxruntime on the CPU.

    Raises:
        ModelError: unreadable, not ONNX, or not one of this program's exports.
    """

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised, and said once
        try:
            content = path.read_bytes()
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except OSError as error:
            raise ModelError(f"{path}: {error.strerror or error}") from error
        except Exception as error:  # onnxruntime's own have no base class in common
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{path}: onnxruntime cannot load it ({reason})") from error
        entry = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        if entry is None:
            raise ModelError(
                f"{path}: an ONNX file, but not one that mnistctl made: no '{KEY}' metadata"
            )
        try:
            self.metadata = Metadata.parse(entry)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error
        found = [(item.name, item.type, len(item.shape)) for item in self._session.get_inputs()]
        names = tuple(item.name for item in self._session.get_outputs())
        if found != [(INPUT_NAME, "tensor(uint8)", 3)] or names != Outputs._fields:
            raise ModelError(
                f"{path}: takes {found} and gives {list(names)}, expected one input "
                f"'{INPUT_NAME}' uint8 (batch, 28, 28) and {list(Outputs._fields)}"
            )

    def __call__(self, images: Images) -> Outputs:
        """See `predictor.Predictor`."""
        return Outputs(*self._session.run(Outputs._fields, {INPUT_NAME: images}))
