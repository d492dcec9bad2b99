"""The Predictor protocol with onnxruntime as the runtime."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mnistctl.errors import ModelError
from mnistctl.models import formats
from mnistctl.models.onnx_session import OnnxSession
from mnistctl.models.predictor import Outputs, predict_all
from mnistctl.settings.architectures import DIGIT
from mnistctl.types import IMAGE_SIZE, Images

INPUT_NAME = "images"
# Type and shape of the input, without the batch axis -> kind of input.
_INPUT_KINDS: dict[tuple[str, tuple[int | str | None, ...]], str] = {
    ("tensor(uint8)", (IMAGE_SIZE, IMAGE_SIZE)): formats.UINT8,
    ("tensor(float)", (1, IMAGE_SIZE, IMAGE_SIZE)): formats.FLOAT32,
}


class OnnxPredictor:
    """An exported model for single digits that onnxruntime runs on the CPU.

    Args:
        source: the ONNX file, or one that is open.
        trusted: skip the safety checks, for a file that is part of this package.

    Raises:
        ModelError: see `OnnxSession`; or the model is for another task, or has other inputs or outputs.
    """

    def __init__(self, source: Path | OnnxSession, *, trusted: bool = False) -> None:
        session = OnnxSession(source, trusted=trusted) if isinstance(source, Path) else source
        session.check_task(DIGIT)
        self._session = session
        self._max_batch = max(1, session.max_pixels // IMAGE_SIZE**2)
        self.metadata, self.graph_sha256 = session.metadata, session.graph_sha256
        self._input_kind = _check_signature(session)

    @property
    def threads(self) -> int:
        """See `predictor.Predictor`."""
        return self._session.threads

    def __call__(self, images: Images) -> Outputs:
        """See `predictor.Predictor`."""
        if len(images) > self._max_batch:
            return predict_all(self, images, batch_size=self._max_batch)
        feed = {INPUT_NAME: as_input(images, self._input_kind)}
        return Outputs(*self._session.run(Outputs._fields, feed))


def as_input(images: Images, input_kind: str) -> npt.NDArray[Any]:
    """Convert images, uint8 (N, 28, 28), to the input of an exported model; see `formats.INPUTS`."""
    if input_kind == formats.FLOAT32:
        return images[:, None].astype(np.float32) / np.float32(255)
    return images


def _check_signature(session: OnnxSession) -> str:
    """Check names, types and shapes of the input and the outputs.

    Returns:
        The kind of input, a key of `formats.INPUTS`.

    Raises:
        ModelError: they are not those of an export with the classes in the metadata.
    """
    classes = len(session.metadata.class_names)
    inputs, outputs = session.inputs, session.outputs
    expected_outputs = [
        (name, "tensor(float)", shape)
        for name, shape in zip(Outputs._fields, ((classes,), (classes,), ()), strict=True)
    ]
    kind = _INPUT_KINDS.get((inputs[0].type, inputs[0].shape[1:])) if inputs else None
    if (
        kind is None
        or len(inputs) != 1
        or inputs[0].name != INPUT_NAME
        or isinstance(inputs[0].shape[0], int)  # a fixed batch size
        or [(item.name, item.type, item.shape[1:]) for item in outputs] != expected_outputs
    ):
        inputs_allowed = " or ".join(layout for layout, _ in formats.INPUTS.values())
        signature = [tuple(item) for item in (*inputs, *outputs)]
        raise ModelError(
            f"{session.path}: its inputs and outputs are {signature}, "
            f"expected one input '{INPUT_NAME}', {inputs_allowed}, and outputs {list(Outputs._fields)} "
            f"of {classes} classes"
        )
    return kind
