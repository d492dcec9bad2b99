"""The interface of every model, whatever its runtime: raw images in, predictions out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from mnistctl.errors import ModelError
from mnistctl.models.metadata import Metadata
from mnistctl.types import Floats, Images, Result

BLANK = "blank"  # a reason for a rejection
SEVERAL_DIGITS = "several digits: use --numbers"  # another one


class Outputs(NamedTuple):
    """The output of a model for N images and C classes."""

    logits: Floats  # (N, C)
    probabilities: Floats  # (N, C), each row sums to 1
    familiarity: Floats  # (N,) in [0, 1]: how much an image looks like the training images


class Predictor(Protocol):
    """A model that is ready to use. It takes raw pixels; the caller does no preprocessing."""

    @property
    def metadata(self) -> Metadata:
        """The model's metadata."""
        ...

    @property
    def threads(self) -> int:
        """Number of CPU threads that the runtime uses."""
        ...

    def __call__(self, images: Images) -> Outputs:
        """Classify images.

        Args:
            images: uint8 (N, 28, 28), 0 = paper, 255 = ink; N at least 1.

        Raises:
            ModelError: the runtime cannot run the model.
        """
        ...


@dataclass(frozen=True)
class Prediction(Result):
    """The predicted class of one image, the runners-up, and whether the image is rejected."""

    label: str  # the predicted class
    probability: float  # of the predicted class, in [0, 1]
    top: tuple[tuple[str, float], ...]  # the most probable classes with their probabilities, in order
    familiarity: float  # how much the image looks like the training images, in [0, 1]
    reason: str | None  # why the image is rejected; None: it is not

    @property
    def rejected(self) -> bool:
        """Whether the model does not answer."""
        return self.reason is not None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        top = [{"label": label, "probability": probability} for label, probability in self.top]
        return vars(self) | {"rejected": self.rejected, "top": top}


def predict_all(predictor: Predictor, images: Images, *, batch_size: int) -> Outputs:
    """The outputs for all images, computed in batches.

    Args:
        predictor: any model.
        images: uint8 (N, 28, 28), N at least 1.
        batch_size: images per call of the model, at least 1.
    """
    starts = range(0, len(images), batch_size)
    batches = [predictor(images[start : start + batch_size]) for start in starts]
    return Outputs(*(np.concatenate(arrays) for arrays in zip(*batches, strict=True)))


def check_finite(outputs: Outputs) -> None:
    """Check that a model answers with numbers.

    Raises:
        ModelError: an output is infinite or not a number, as the weights of some files make it.
    """
    if not all(np.isfinite(values).all() for values in outputs):
        raise ModelError("the model cannot be used: it returns values that are not finite")


def interpret(
    images: Images,
    outputs: Outputs,
    class_names: Sequence[str],
    *,
    top: int,
    threshold: float | None,
    reject: bool = True,
) -> list[Prediction]:
    """Turn outputs into predictions, one per image.

    Args:
        images: uint8 (N, 28, 28).
        outputs: for these images.
        class_names: C names.
        top: number of most probable classes in each prediction, 1 to C.
        threshold: images with a lower familiarity are rejected; None: only blank images are.
        reject: False: reject no image.

    Raises:
        ModelError: see `check_finite`.
    """
    check_finite(outputs)
    unfamiliar = "not a digit" if are_digits(class_names) else "none of the classes"
    ranking = np.argsort(-outputs.probabilities, axis=1, kind="stable")[:, :top]
    predictions = []
    for image, probabilities, familiarity, indices in zip(
        images, outputs.probabilities, outputs.familiarity, ranking, strict=True
    ):
        best = tuple((class_names[index], float(probabilities[index])) for index in indices)
        reason = None
        if reject and not image.any():
            reason = BLANK
        elif reject and threshold is not None and familiarity < threshold:
            reason = unfamiliar
        predictions.append(Prediction(*best[0], best, float(familiarity), reason))
    return predictions


def are_digits(class_names: Sequence[str]) -> bool:
    """Whether all classes are single digits, so that letters are outliers."""
    return all(len(name) == 1 and name.isdecimal() for name in class_names)


class PageOutputs(NamedTuple):
    """The output of a detector of digits for N pages and C classes, on a grid of 4×4 pixels."""

    scores: Floats  # (N, C, H / 4, W / 4) in [0, 1]: how likely a cell is the centre of such a digit
    boxes: Floats  # (N, 4, H / 4, W / 4): left, top, right and bottom in pixels of the page


class PagePredictor(Protocol):
    """A detector of digits that is ready to use. It takes raw pixels."""

    @property
    def metadata(self) -> Metadata:
        """The model's metadata; the task is "numbers"."""
        ...

    @property
    def threads(self) -> int:
        """Number of CPU threads that the runtime uses."""
        ...

    def __call__(self, pages: Images) -> PageOutputs:
        """Find digits on pages of equal size.

        Args:
            pages: uint8 (N, H, W), 0 = paper, 255 = ink; N at least 1, H and W multiples of 16.

        Raises:
            ModelError: the runtime cannot run the model.
        """
        ...
