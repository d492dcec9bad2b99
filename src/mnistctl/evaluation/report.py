"""A predictor and a split -> a report: in NumPy, the same for every format."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mnistctl.datasets import Split
from mnistctl.errors import CheckFailedError, UsageError
from mnistctl.evaluation import metrics
from mnistctl.evaluation.corruptions import CORRUPTIONS
from mnistctl.models.predictor import Outputs, Predictor, predict_all
from mnistctl.run import progress


@dataclass(frozen=True)
class Report:
    """How well a model reads a split. Accuracies are in [0, 1], the loss in nats."""

    model: str
    dataset: str
    split: str
    images: int
    accuracy: float
    accuracy_interval: tuple[float, float]  # 95%, Wilson
    loss: float  # cross-entropy of the model's probabilities
    per_class: list[dict[str, Any]]  # label, images, precision, recall, f1
    confusion: list[list[int]]  # rows: true class, columns: predicted
    most_confused: list[dict[str, Any]]  # label, predicted, images; the worst first
    calibration_error: float  # expected, over 15 bins
    reliability: list[dict[str, Any]]  # of each bin that has any: images, confidence, accuracy
    rejected: float | None  # share of the images, by the threshold on `familiarity`; None: it has none
    robustness: Sequence[dict[str, Any]] = ()  # corruption, strength, unit, accuracy; where asked for
    plots: Sequence[str] = ()  # paths of the plots that were drawn

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        names = ("accuracy_interval", "robustness", "plots")
        lists = {name: list(getattr(self, name)) for name in names}
        return vars(self) | lists

    def require(self, min_accuracy: float | None) -> None:
        """Hold the accuracy against a limit in [0, 1]; None holds it against nothing.

        Raises:
            CheckFailedError: it is below.
        """
        if min_accuracy is not None and not self.accuracy >= min_accuracy:
            raise CheckFailedError(
                f"accuracy {self.accuracy:.4f} on {self.dataset} {self.split} is below "
                f"--min-accuracy {min_accuracy}"
            )


def check_split(class_names: Sequence[str], split: Split) -> None:
    """Check that a split has images, of the classes that a model knows.

    Raises:
        UsageError: it has none, or others, so no figure would mean anything.
    """
    if not len(split.images):
        raise UsageError(f"the {split.name} split of '{split.dataset}' is empty")
    if list(class_names) != list(split.class_names):
        raise UsageError(
            f"the model knows {len(class_names)} classes ({', '.join(class_names[:3])}, …), dataset "
            f"'{split.dataset}' has {len(split.class_names)} ({', '.join(split.class_names[:3])}, …)"
        )


def measure(
    predictor: Predictor, split: Split, *, model: str, batch_size: int
) -> tuple[Report, Outputs]:
    """Measure a predictor on a split of one image or more.

    Raises:
        UsageError: the split is empty, or the classes differ.
    """
    class_names = predictor.metadata.class_names
    check_split(class_names, split)
    outputs = predict_all(predictor, split.images, batch_size=batch_size)
    predicted = outputs.logits.argmax(axis=1)
    confusion = metrics.confusion_matrix(split.labels, predicted, classes=len(class_names))
    right = int(confusion.trace())
    bins = metrics.reliability(outputs.probabilities, split.labels)
    threshold = predictor.metadata.threshold
    report = Report(
        model=model,
        dataset=split.dataset,
        split=split.name,
        images=len(split.images),
        accuracy=right / len(split.images),
        accuracy_interval=metrics.wilson_interval(right, len(split.images)),
        loss=metrics.cross_entropy(outputs.probabilities, split.labels),
        per_class=metrics.per_class(confusion, class_names),
        confusion=confusion.tolist(),
        most_confused=metrics.most_confused(confusion, class_names),
        calibration_error=metrics.expected_calibration_error(bins),
        reliability=bins,
        rejected=None if threshold is None else float((outputs.familiarity < threshold).mean()),
    )
    return report, outputs


def measure_robustness(
    predictor: Predictor,
    split: Split,
    *,
    batch_size: int,
) -> list[dict[str, Any]]:
    """Accuracy on a split's images, spoilt in every way of `corruptions` and at every strength."""
    trials = [(how, strength) for how in CORRUPTIONS for strength in how.strengths]
    rows = []
    for number, (how, strength) in enumerate(trials):
        progress.current().advance("robustness", number, len(trials))
        spoilt = how.corrupt(split.images, strength, np.random.default_rng(0))
        outputs = predict_all(predictor, spoilt, batch_size=batch_size)
        right = float((outputs.logits.argmax(axis=1) == split.labels).mean())
        rows.append({"corruption": how.name, "strength": strength, "unit": how.unit, "accuracy": right})
    progress.current().advance("robustness", len(trials), len(trials))
    return rows


def predictions_csv(split: Split, outputs: Outputs) -> str:
    """Every image's row: index, label, predicted, and the probability of each class."""
    names = split.class_names
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "label", "predicted", *(f"p_{name}" for name in names), "familiarity"])
    predicted = outputs.logits.argmax(axis=1)
    for index, row in enumerate(outputs.probabilities.tolist()):
        familiarity = float(outputs.familiarity[index])
        writer.writerow([index, names[split.labels[index]], names[predicted[index]], *row, familiarity])
    return text.getvalue()
