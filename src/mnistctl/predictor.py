"""The one contract of every model, whatever runs it: raw images in, what it makes of them out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from mnistctl.metadata import Metadata

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class Outputs(NamedTuple):
    """What a model says of N images, over C classes."""

    logits: Floats  # (N, C)
    probabilities: Floats  # (N, C), each row sums to 1
    known: Floats  # (N,) in [0, 1]: how much an image looks like anything the model was taught


class Predictor(Protocol):
    """A complete reader: it takes raw pixels and owes nothing to its caller."""

    @property
    def metadata(self) -> Metadata:
        """What the model knows about itself."""
        ...

    def __call__(self, images: Images) -> Outputs:
        """Read images, uint8 (N, 28, 28), 0 = paper, 255 = ink; N is 1 or more."""
        ...


@dataclass(frozen=True)
class Prediction:
    """The best guess for one image, and the runners-up."""

    label: str  # a class name
    probability: float
    top: tuple[tuple[str, float], ...]  # (class name, probability), the likeliest first

    def to_json(self) -> dict[str, Any]:
        """Label, probability and top-k as plain values."""
        top = [{"label": label, "probability": probability} for label, probability in self.top]
        return {"label": self.label, "probability": self.probability, "top": top}


def predict_all(predictor: Predictor, images: Images, *, batch_size: int) -> Outputs:
    """The outputs for all images, (N, 28, 28), N of 1 or more, read so many at a time."""
    starts = range(0, len(images), batch_size)
    parts = [predictor(images[start : start + batch_size]) for start in starts]
    return Outputs(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def top_k(probabilities: Floats, class_names: Sequence[str], *, k: int) -> list[Prediction]:
    """Turn probabilities (N, C) into predictions with their `k` likeliest classes (at most C)."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    predictions = []
    for row, best in zip(probabilities, order, strict=True):
        top = tuple((class_names[index], float(row[index])) for index in best)
        predictions.append(Prediction(*top[0], top=top))
    return predictions
