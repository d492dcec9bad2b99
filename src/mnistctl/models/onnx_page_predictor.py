"""The PagePredictor protocol with onnxruntime as the runtime."""

from pathlib import Path

import numpy as np

from mnistctl.errors import ModelError
from mnistctl.models import formats, onnx_safety
from mnistctl.models.onnx_session import OnnxSession
from mnistctl.models.predictor import PageOutputs
from mnistctl.settings.architectures import NUMBERS
from mnistctl.types import Images

INPUT_NAME = onnx_safety.PAGES
_BOX_SIDES = 4


class OnnxPagePredictor:
    """An exported detector of digits that onnxruntime runs on the CPU.

    Args:
        source: the ONNX file, or one that is open.
        trusted: skip the safety checks, for a file that is part of this package.

    Raises:
        ModelError: see `OnnxSession`; or the model is for another task, or has other inputs or outputs.
    """

    def __init__(self, source: Path | OnnxSession, *, trusted: bool = False) -> None:
        session = OnnxSession(source, trusted=trusted) if isinstance(source, Path) else source
        session.check_task(NUMBERS)
        _check_signature(session)
        self._session = session
        self.metadata, self.graph_sha256 = session.metadata, session.graph_sha256

    @property
    def threads(self) -> int:
        """See `predictor.PagePredictor`."""
        return self._session.threads

    def __call__(self, pages: Images) -> PageOutputs:
        """See `predictor.PagePredictor`.

        Raises:
            ModelError: also if a page is too large for the file's use of memory and arithmetic.
        """
        height, width = pages.shape[1:]
        at_once = self._session.max_pixels // (height * width)
        if not at_once:
            raise ModelError(
                f"{self._session.path}: cannot run on a page of {width}×{height} pixels; at most "
                f"{self._session.max_pixels:,} pixels are allowed for this file"
            )
        batches = [
            self._session.run(PageOutputs._fields, {INPUT_NAME: pages[start : start + at_once]})
            for start in range(0, len(pages), at_once)
        ]
        return PageOutputs(*(np.concatenate(arrays) for arrays in zip(*batches, strict=True)))


def _check_signature(session: OnnxSession) -> None:
    """Check names, types and shapes of the input and the outputs.

    Raises:
        ModelError: they are not those of an export with the classes in the metadata.
    """
    classes = len(session.metadata.class_names)
    inputs, outputs = session.inputs, session.outputs
    expected = [
        (INPUT_NAME, "tensor(uint8)", 3, None),
        *(
            (name, "tensor(float)", 4, channels)
            for name, channels in zip(PageOutputs._fields, (classes, _BOX_SIDES), strict=True)
        ),
    ]
    actual = [
        (item.name, item.type, len(item.shape), _fixed(item.shape)) for item in (*inputs, *outputs)
    ]
    if len(inputs) != 1 or actual != expected:
        signature = [tuple(item) for item in (*inputs, *outputs)]
        raise ModelError(
            f"{session.path}: its inputs and outputs are {signature}, "
            f"expected one input '{INPUT_NAME}', {formats.PAGES[0]}, and outputs "
            f"{list(PageOutputs._fields)} of {classes} classes"
        )


def _fixed(shape: tuple[int | str | None, ...]) -> int | str | None:
    """The number of channels in a shape whose other sizes are free; None: all are free."""
    sizes = [size for size in shape if isinstance(size, int)]
    if not sizes:
        return None
    return sizes[0] if len(sizes) == 1 and shape[1] == sizes[0] else str(shape)
