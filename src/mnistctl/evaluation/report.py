"""Measure a predictor on a split. The code is the same for every model format."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mnistctl.datasets import Split
from mnistctl.errors import CheckFailedError, UsageError
from mnistctl.evaluation import metrics
from mnistctl.evaluation.corruptions import CORRUPTIONS
from mnistctl.models.predictor import Outputs, Predictor, check_finite, predict_all
from mnistctl.run import progress
from mnistctl.types import Result


@dataclass(frozen=True)
class Report(Result):
    """The metrics of a model on a split."""

    model: str  # path of the model file
    dataset: str  # whose images were classified
    split: str  # train, validation, test or another split of the dataset
    images: int  # number of images
    accuracy: float  # in [0, 1]
    accuracy_interval: tuple[float, float]  # 95% Wilson interval
    loss: float  # cross-entropy in nats, of the model as saved: after calibration
    per_class: list[dict[str, Any]]  # label, images, precision, recall, f1 of each class
    confusion: list[list[int]]  # images; rows are the true class, columns the predicted class
    most_confused: list[dict[str, Any]]  # label, predicted, images; the most frequent first
    calibration_error: float  # expected calibration error over 15 bins, in [0, 1]
    reliability: list[dict[str, Any]]  # images, confidence, accuracy of each bin with images
    rejected: float | None  # share of images that are rejected, in [0, 1]; null: no threshold
    not_calibrated: str | None  # why the model has no temperature and no threshold; null: it has
    robustness: list[dict[str, Any]] = field(default_factory=list)  # for each corruption and strength
    plots: list[str] = field(default_factory=list)  # paths of the plots that were drawn

    def check_min_accuracy(self, min_accuracy: float | None) -> None:
        """Check that the accuracy is at least a limit in [0, 1]; None: no limit.

        Raises:
            CheckFailedError: it is lower.
        """
        if min_accuracy is not None and not self.accuracy >= min_accuracy:
            raise CheckFailedError(
                f"accuracy {self.accuracy:.6g} on {self.dataset} {self.split} is below "
                f"--min-accuracy {min_accuracy}"
            )


def check_split(class_names: Sequence[str], split: Split) -> None:
    """Check that a split has images, and the classes of the model.

    Raises:
        UsageError: it is empty, or has other classes.
    """
    if not len(split.images):
        raise UsageError(f"the {split.name} split of '{split.dataset}' is empty")
    if len(class_names) != len(split.class_names):
        raise UsageError(
            f"the model has {len(class_names)} classes ({', '.join(class_names[:3])}, …), dataset "
            f"'{split.dataset}' has {len(split.class_names)} ({', '.join(split.class_names[:3])}, …)"
        )
    for index, (name, other) in enumerate(zip(class_names, split.class_names, strict=True)):
        if name != other:
            raise UsageError(
                f"class {index} is '{name}' in the model, but '{other}' in dataset '{split.dataset}'"
            )


def measure(
    predictor: Predictor, split: Split, *, model: str, batch_size: int
) -> tuple[Report, Outputs]:
    """Measure a predictor on a split of at least one image.

    Raises:
        UsageError: the split is empty, or the classes differ.
        ModelError: the model returns values that are not finite.
    """
    class_names = predictor.metadata.class_names
    check_split(class_names, split)
    outputs = predict_all(predictor, split.images, batch_size=batch_size)
    check_finite(outputs)
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
        not_calibrated=predictor.metadata.not_calibrated,
    )
    return report, outputs


def measure_robustness(
    predictor: Predictor,
    split: Split,
    *,
    batch_size: int,
) -> list[dict[str, Any]]:
    """Accuracy on a split's images under every corruption and strength of `CORRUPTIONS`."""
    trials = [(corruption, strength) for corruption in CORRUPTIONS for strength in corruption.strengths]
    rows = []
    for number, (corruption, strength) in enumerate(trials):
        progress.current().advance("robustness", number, len(trials))
        corrupted = corruption.corrupt(split.images, strength, np.random.default_rng(0))
        outputs = predict_all(predictor, corrupted, batch_size=batch_size)
        rows.append(
            {
                "corruption": corruption.name,
                "strength": strength,
                "unit": corruption.unit,
                "accuracy": float((outputs.logits.argmax(axis=1) == split.labels).mean()),
            }
        )
    progress.current().advance("robustness", len(trials), len(trials))
    return rows


def predictions_csv(results: Sequence[tuple[Split, Outputs]]) -> str:
    """A CSV row for each image of one split or more, which have the same classes.

    The columns: split, index, label, predicted, probabilities of the classes, familiarity.
    """
    names = results[0][0].class_names
    columns = ["split", "index", "label", "predicted", *(f"p_{name}" for name in names), "familiarity"]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for split, outputs in results:
        predicted = outputs.logits.argmax(axis=1)
        for index, row in enumerate(outputs.probabilities.tolist()):
            labels = names[split.labels[index]], names[predicted[index]]
            familiarity = float(outputs.familiarity[index])
            writer.writerow([split.name, index, *labels, *row, familiarity])
    return text.getvalue()
