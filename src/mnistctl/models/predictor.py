"""The one contract of every model, whatever runs it: raw images in, what it makes of them out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from mnistctl.models.metadata import Metadata
from mnistctl.types import Floats, Images


class Outputs(NamedTuple):
    """What a model says of N images, over C classes."""

    logits: Floats  # (N, C)
    probabilities: Floats  # (N, C), each row sums to 1
    familiarity: Floats  # (N,) in [0, 1]: how much an image looks like anything the model was taught


class Predictor(Protocol):
    """A complete reader: it takes raw pixels and owes nothing to its caller."""

    @property
    def metadata(self) -> Metadata:
        """What the model knows about itself."""
        ...

    @property
    def threads(self) -> int:
        """How many compute."""
        ...

    def __call__(self, images: Images) -> Outputs:
        """Read images, uint8 (N, 28, 28), 0 = paper, 255 = ink; N is 1 or more."""
        ...


@dataclass(frozen=True)
class Prediction:
    """The best guess for one image, the runners-up, and whether it is any of them."""

    label: str  # a class name
    probability: float
    top: tuple[tuple[str, float], ...]  # (class name, probability), the likeliest first
    familiarity: float  # see `Outputs`
    reason: str | None  # why it is refused, all the same; None: it is not

    @property
    def rejected(self) -> bool:
        """Whether the image is taken for none of the classes."""
        return self.reason is not None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        top = [{"label": label, "probability": probability} for label, probability in self.top]
        return vars(self) | {"rejected": self.rejected, "top": top}


def predict_all(predictor: Predictor, images: Images, *, batch_size: int) -> Outputs:
    """The outputs for all images, (N, 28, 28), N of 1 or more, read so many at a time."""
    starts = range(0, len(images), batch_size)
    parts = [predictor(images[start : start + batch_size]) for start in starts]
    return Outputs(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def interpret(
    images: Images,
    outputs: Outputs,
    class_names: Sequence[str],
    *,
    top: int,
    threshold: float | None,
    reject: bool = True,
) -> list[Prediction]:
    """Turn outputs into predictions.

    Args:
        images: uint8 (N, 28, 28).
        outputs: of these images.
        class_names: C of them.
        top: how many of the likeliest classes each is to have, at most C.
        threshold: on `familiarity`: what is below is refused. None: nothing is for that.
        reject: False: nothing is refused at all.
    """
    stranger = "not a digit" if are_digits(class_names) else "none of the classes"
    order = np.argsort(-outputs.probabilities, axis=1, kind="stable")[:, :top]
    predictions = []
    for image, row, familiarity, best in zip(
        images, outputs.probabilities, outputs.familiarity, order, strict=True
    ):
        likeliest = tuple((class_names[index], float(row[index])) for index in best)
        reason = None
        if reject and not image.any():
            reason = "blank"
        elif reject and threshold is not None and familiarity < threshold:
            reason = stranger
        label, probability = likeliest[0]
        predictions.append(Prediction(label, probability, likeliest, float(familiarity), reason))
    return predictions


def are_digits(class_names: Sequence[str]) -> bool:
    """Whether all classes are digits, so that a letter is none of them."""
    return all(len(name) == 1 and name.isdecimal() for name in class_names)
