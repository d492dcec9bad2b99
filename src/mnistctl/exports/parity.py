"""Parity: whether an exported model gives the same outputs as the PyTorch model."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from mnistctl.datasets import Split
from mnistctl.errors import CheckFailedError
from mnistctl.exports import drawings
from mnistctl.models.formats import FORMATS, ONNX, Format
from mnistctl.models.predictor import Outputs, Predictor, predict_all
from mnistctl.types import Floats

PREPARATION_TOLERANCE = 2.0  # of 255 grey levels: mean difference of the pixels of any drawing
_REFERENCE_BATCH = 256  # images per call of the PyTorch model
RELATIVE_TOLERANCE = 1e-4  # relative to the largest logit, or to 1 if that is larger
# The familiarity amplifies rounding errors of the net, in a deep net after five steps by 1e-4. It is
# only compared with a threshold, so it may differ by more than the logits.
FAMILIARITY_TOLERANCE = 1e-3
_ROUNDING = 1e-9  # of the difference of two accuracies


@dataclass(frozen=True)
class Parity:
    """Two models compared on the same images; differences are the largest of all batch sizes."""

    dataset: str  # whose images were compared
    split: str  # of the dataset
    images: int  # number of images
    batch_sizes: tuple[int, ...]  # at which the exported model ran
    limits: dict[str, float]  # metric -> the largest value allowed
    max_logit_difference: float  # largest absolute difference of a logit
    mean_logit_difference: float  # mean absolute difference of the logits
    max_probability_difference: float  # largest absolute difference
    max_familiarity_difference: float  # largest absolute difference
    argmax_agreement: float  # share of images with the same predicted label, in [0, 1]
    disagreements: int  # images with another predicted label
    disagreements_beyond_tolerance: int  # of these, images where float32 rounding is not the reason
    rejections_changed: int  # images that only one of the two models rejects
    reference_accuracy: float  # of the PyTorch model, in [0, 1]
    exported_accuracy: float  # of the exported model, in [0, 1]
    preparation_difference: float | None  # of the worst of some drawings, see `drawings`; None: none
    accuracy_loss: float  # at the worst batch size; negative if the accuracy is higher
    is_finite: bool  # whether the exported model gives finite numbers only

    @property
    def holds(self) -> bool:
        """Whether every value is finite and no limit is exceeded."""
        return self.is_finite and not exceeded(self, self.limits)

    def to_json(self) -> dict[str, Any]:
        """Plain values, and whether parity holds. Infinity and NaN become strings."""
        values = plain(asdict(self))
        return values | {"batch_sizes": list(self.batch_sizes), "holds": self.holds}

    def require(self, path: str) -> None:
        """Check that parity holds.

        Raises:
            CheckFailedError: it does not.
        """
        if not self.holds:
            fail(self, self.limits, path=path, inputs=f"{self.images:,} images")


def exceeded(result: Any, limits: Mapping[str, float]) -> list[str]:
    """The metrics of a comparison that are above their limit."""
    return [name for name, limit in limits.items() if not getattr(result, name) <= limit]


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values, with text in place of infinity and NaN."""
    return {
        name: str(value) if isinstance(value, float) and not np.isfinite(value) else value
        for name, value in values.items()
    }


def fail(result: Any, limits: Mapping[str, float], *, path: str, inputs: str) -> NoReturn:
    """Report a comparison that does not hold.

    Args:
        result: of the comparison.
        limits: metric -> the largest value allowed.
        path: of the export.
        inputs: what both models were run on.

    Raises:
        CheckFailedError: always.
    """
    reasons = [
        f"{name.replace('_', ' ')} {getattr(result, name):.2g} (at most {limits[name]:.2g} is allowed)"
        for name in exceeded(result, limits)
    ]
    if not result.is_finite:
        reasons.append("values that are not finite")
    raise CheckFailedError(
        f"{path}: not written: on {inputs}, compared with PyTorch: {', '.join(reasons)}"
    )


def compare(
    reference: Predictor, exported: Predictor, split: Split, *, kind: Format = FORMATS[ONNX]
) -> Parity:
    """Run both models on all images of a split, the exported one at every batch size of the check."""
    expected = predict_all(reference, split.images, batch_size=_REFERENCE_BATCH)
    actual = [predict_all(exported, split.images, batch_size=size) for size in kind.batch_sizes]
    tolerance = RELATIVE_TOLERANCE * max(1.0, float(np.abs(expected.logits).max()))

    labels = expected.logits.argmax(axis=1)
    has_other_label = np.any([outputs.logits.argmax(axis=1) != labels for outputs in actual], axis=0)
    is_clear = _margin(expected.logits) > 2 * tolerance
    accuracy = float((labels == split.labels).mean())
    exported_accuracy = min(
        float((outputs.logits.argmax(axis=1) == split.labels).mean()) for outputs in actual
    )
    logit_differences = [difference(outputs.logits, expected.logits) for outputs in actual]
    return Parity(
        dataset=split.dataset,
        split=split.name,
        images=len(split.images),
        batch_sizes=kind.batch_sizes,
        limits=_limits(kind, tolerance=tolerance, images=len(split.images)),
        max_logit_difference=max(float(values.max()) for values in logit_differences),
        mean_logit_difference=max(float(values.mean()) for values in logit_differences),
        max_probability_difference=max(
            float(difference(outputs.probabilities, expected.probabilities).max()) for outputs in actual
        ),
        max_familiarity_difference=max(
            float(difference(outputs.familiarity, expected.familiarity).max()) for outputs in actual
        ),
        argmax_agreement=float(1 - has_other_label.mean()),
        disagreements=int(has_other_label.sum()),
        disagreements_beyond_tolerance=int((has_other_label & is_clear).sum()),
        rejections_changed=_rejections_changed(expected, actual, reference.metadata.threshold),
        reference_accuracy=accuracy,
        exported_accuracy=exported_accuracy,
        preparation_difference=_preparation_difference(exported, kind),
        accuracy_loss=accuracy - exported_accuracy,
        is_finite=all(np.isfinite(values).all() for outputs in actual for values in outputs),
    )


def _preparation_difference(exported: Any, kind: Format) -> float | None:
    return drawings.largest_difference(exported.prepare) if kind.prepares_pictures else None


def _limits(kind: Format, *, tolerance: float, images: int) -> dict[str, float]:
    """The limits of a format. A share of the images is never less than one image."""
    others: dict[str, float] = {"rejections_changed": max(1, int(kind.max_rejections_changed * images))}
    if kind.prepares_pictures:
        others["preparation_difference"] = PREPARATION_TOLERANCE
    if kind.max_disagreement is not None:
        return {"disagreements": max(1, int(kind.max_disagreement * images)), **others}
    if kind.max_accuracy_loss is not None:
        return {"accuracy_loss": max(kind.max_accuracy_loss, 1 / images) + _ROUNDING, **others}
    return {
        "max_logit_difference": tolerance,
        "max_probability_difference": tolerance,
        "max_familiarity_difference": FAMILIARITY_TOLERANCE,
        "disagreements_beyond_tolerance": 0,
    }


def _margin(logits: Floats) -> Floats:
    """The largest logit of each row minus the second largest, (N,)."""
    ascending = np.sort(logits, axis=1)
    return ascending[:, -1] - ascending[:, -2]


def _rejections_changed(expected: Outputs, actual: Sequence[Outputs], threshold: float | None) -> int:
    if threshold is None:
        return 0
    is_rejected = expected.familiarity < threshold
    return max(int(((item.familiarity < threshold) != is_rejected).sum()) for item in actual)


def difference(actual: Floats, expected: Floats) -> npt.NDArray[np.float64]:
    """Absolute differences; infinite where a value is not finite."""
    absolute = np.abs(actual.astype(np.float64) - expected)
    return np.nan_to_num(absolute, nan=np.inf, posinf=np.inf)
