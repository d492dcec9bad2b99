"""Parity: whether an exported model says what the PyTorch model says."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mnistctl.datasets import Split
from mnistctl.errors import CheckFailedError
from mnistctl.models.formats import FORMATS, ONNX, Format
from mnistctl.models.predictor import Outputs, Predictor, predict_all

BATCH_SIZES = (1, 7, 256)
RELATIVE_TOLERANCE = 1e-4  # of the largest logit, and at least of 1
# Of `familiarity`, which is held against a threshold and decides nothing else. It magnifies what hardly
# changes in a net, and with that its rounding: of a deep net after five steps by 1e-4.
KNOWN_TOLERANCE = 1e-3
_ROUNDING = 1e-9  # of the difference of two accuracies


@dataclass(frozen=True)
class Parity:
    """Two models on the same images: the largest figures over all batch sizes."""

    dataset: str
    split: str
    images: int
    batch_sizes: tuple[int, ...]
    limits: dict[str, float]  # what is allowed: the figure's name -> the most
    max_logit_difference: float
    mean_logit_difference: float
    max_probability_difference: float
    max_familiarity_difference: float
    argmax_agreement: float  # share of images, in [0, 1]
    disagreements: int  # images whose argmax differs
    disagreements_beyond_tolerance: int  # of them, those that rounding in float32 cannot explain
    rejections_changed: int  # images that one of the two refuses and the other does not
    reference_accuracy: float
    exported_accuracy: float
    accuracy_loss: float  # of the worst batch size; below 0 it is a gain
    is_finite: bool  # whether all that the exported model says are numbers

    @property
    def holds(self) -> bool:
        """Whether no figure is above what is allowed."""
        return self.is_finite and not self._broken()

    def _broken(self) -> list[str]:
        return [name for name, most in self.limits.items() if not getattr(self, name) <= most]

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the verdict."""
        values = {name: _plain(value) for name, value in asdict(self).items()}
        return values | {"batch_sizes": list(self.batch_sizes), "holds": self.holds}

    def require(self, path: str) -> None:
        """Insist on parity.

        Raises:
            CheckFailedError: it does not hold.
        """
        if not self.holds:
            found = [
                f"{name.replace('_', ' ')} {getattr(self, name):.2g} (at most {self.limits[name]:.2g} "
                "is allowed)"
                for name in self._broken()
            ]
            if not self.is_finite:
                found.append("values that are no numbers")
            raise CheckFailedError(
                f"{path}: not written: on {self.images:,} images, compared with PyTorch: "
                f"{', '.join(found)}"
            )


def compare(
    reference: Predictor, exported: Predictor, split: Split, *, kind: Format = FORMATS[ONNX]
) -> Parity:
    """Run both over all images of a split, the exported one at every batch size of the check."""
    wanted = predict_all(reference, split.images, batch_size=max(BATCH_SIZES))
    tolerance = RELATIVE_TOLERANCE * max(1.0, float(np.abs(wanted.logits).max()))
    first, second = np.sort(wanted.logits, axis=1)[:, :-3:-1].T
    is_clear = first - second > 2 * tolerance
    label = wanted.logits.argmax(axis=1)
    threshold = reference.metadata.threshold

    found = [predict_all(exported, split.images, batch_size=size) for size in BATCH_SIZES]
    differs = np.stack([output.logits.argmax(axis=1) != label for output in found]).any(axis=0)
    differences = {
        name: [_difference(output, wanted, name) for output in found] for name in Outputs._fields
    }
    largest = {
        name: max(float(item.max()) for item in of_batches) for name, of_batches in differences.items()
    }
    refusals = [
        (output.familiarity < threshold) != (wanted.familiarity < threshold)
        if threshold is not None
        else False
        for output in found
    ]
    accuracy = float((label == split.labels).mean())
    accuracies = [float((output.logits.argmax(axis=1) == split.labels).mean()) for output in found]
    return Parity(
        dataset=split.dataset,
        split=split.name,
        images=len(split.images),
        batch_sizes=BATCH_SIZES,
        limits=_limits(kind, tolerance=tolerance, images=len(split.images)),
        max_logit_difference=largest["logits"],
        mean_logit_difference=max(float(item.mean()) for item in differences["logits"]),
        max_probability_difference=largest["probabilities"],
        max_familiarity_difference=largest["familiarity"],
        argmax_agreement=float(1 - differs.mean()),
        disagreements=int(differs.sum()),
        disagreements_beyond_tolerance=int((differs & is_clear).sum()),
        rejections_changed=max(int(np.sum(changed)) for changed in refusals),
        reference_accuracy=accuracy,
        exported_accuracy=min(accuracies),
        accuracy_loss=accuracy - min(accuracies),
        is_finite=all(np.isfinite(values).all() for output in found for values in output),
    )


def _limits(kind: Format, *, tolerance: float, images: int) -> dict[str, float]:
    """What a format may differ by on so many images; one of them always may."""
    refusals = {"rejections_changed": max(1, int(kind.max_rejections_changed * images))}
    if kind.max_disagreement is not None:
        return {"disagreements": max(1, int(kind.max_disagreement * images)), **refusals}
    if kind.max_accuracy_loss is not None:
        return {"accuracy_loss": max(kind.max_accuracy_loss, 1 / images) + _ROUNDING, **refusals}
    return {
        "max_logit_difference": tolerance,
        "max_probability_difference": tolerance,
        "max_familiarity_difference": KNOWN_TOLERANCE,
        "disagreements_beyond_tolerance": 0,
    }


def _plain(value: Any) -> Any:
    """The value; a float that JSON has no word for as one that it has."""
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def _difference(found: Outputs, wanted: Outputs, name: str) -> Any:
    # A value that is not finite differs from everything.
    difference = np.abs(getattr(found, name).astype(np.float64) - getattr(wanted, name))
    return np.nan_to_num(difference, nan=np.inf, posinf=np.inf)
