"""Parity: whether an exported model says what the PyTorch model says."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mnistctl.datasets import Split
from mnistctl.errors import CheckFailedError
from mnistctl.predictor import Outputs, Predictor, predict_all

BATCH_SIZES = (1, 7, 256)
RELATIVE_TOLERANCE = 1e-4  # of the largest logit, and at least of 1


@dataclass(frozen=True)
class Parity:
    """Two models on the same images: the largest figures over all batch sizes."""

    dataset: str
    split: str
    images: int
    batch_sizes: tuple[int, ...]
    tolerance: float  # for a logit
    max_logit_difference: float
    mean_logit_difference: float
    max_probability_difference: float
    max_known_difference: float
    argmax_agreement: float  # share of images, in [0, 1]
    disagreements: int  # images whose argmax differs
    disagreements_beyond_tolerance: int  # of them, those that rounding cannot explain
    reference_accuracy: float
    exported_accuracy: float

    @property
    def holds(self) -> bool:
        """Whether all outputs are within tolerance, and no argmax differs beyond it."""
        largest = max(
            self.max_logit_difference, self.max_probability_difference, self.max_known_difference
        )
        return largest <= self.tolerance and not self.disagreements_beyond_tolerance

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the verdict."""
        return asdict(self) | {"batch_sizes": list(self.batch_sizes), "holds": self.holds}

    def require(self, path: str) -> None:
        """Insist on parity.

        Raises:
            CheckFailedError: it does not hold.
        """
        if not self.holds:
            raise CheckFailedError(
                f"{path}: not written: on {self.images:,} images its logits differ from PyTorch's "
                f"by up to {self.max_logit_difference:.2g}, its probabilities by up to "
                f"{self.max_probability_difference:.2g} (at most {self.tolerance:.2g} is allowed), "
                f"and {self.disagreements_beyond_tolerance} of its answers are others"
            )


def compare(reference: Predictor, exported: Predictor, split: Split) -> Parity:
    """Run both over all images of a split, the exported one at every batch size of the check."""
    wanted = predict_all(reference, split.images, batch_size=max(BATCH_SIZES))
    tolerance = RELATIVE_TOLERANCE * max(1.0, float(np.abs(wanted.logits).max()))
    first, second = np.sort(wanted.logits, axis=1)[:, :-3:-1].T
    is_clear = first - second > 2 * tolerance
    label = wanted.logits.argmax(axis=1)

    found = [predict_all(exported, split.images, batch_size=size) for size in BATCH_SIZES]
    differs = np.stack([output.logits.argmax(axis=1) != label for output in found]).any(axis=0)
    logit_differences = [_difference(output, wanted, "logits") for output in found]
    probability_differences = [_difference(output, wanted, "probabilities") for output in found]
    known_differences = [_difference(output, wanted, "known") for output in found]
    worst = found[int(np.argmax([difference.max() for difference in logit_differences]))]
    return Parity(
        dataset=split.dataset,
        split=split.name,
        images=len(split.images),
        batch_sizes=BATCH_SIZES,
        tolerance=tolerance,
        max_logit_difference=max(float(difference.max()) for difference in logit_differences),
        mean_logit_difference=max(float(difference.mean()) for difference in logit_differences),
        max_probability_difference=max(float(item.max()) for item in probability_differences),
        max_known_difference=max(float(item.max()) for item in known_differences),
        argmax_agreement=float(1 - differs.mean()),
        disagreements=int(differs.sum()),
        disagreements_beyond_tolerance=int((differs & is_clear).sum()),
        reference_accuracy=float((label == split.labels).mean()),
        exported_accuracy=float((worst.logits.argmax(axis=1) == split.labels).mean()),
    )


def _difference(found: Outputs, wanted: Outputs, name: str) -> Any:
    # A value that is not finite differs from everything.
    difference = np.abs(getattr(found, name).astype(np.float64) - getattr(wanted, name))
    return np.nan_to_num(difference, nan=np.inf, posinf=np.inf)
