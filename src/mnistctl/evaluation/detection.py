"""Measure a detector of digits on pages that are composed of a dataset's images."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mnistctl.datasets import Split
from mnistctl.errors import CheckFailedError, ModelError
from mnistctl.evaluation import metrics
from mnistctl.evaluation.report import check_split
from mnistctl.models.predictor import PageOutputs, PagePredictor
from mnistctl.pages import compose, detect, stream
from mnistctl.pages.compose import Page
from mnistctl.pages.detect import Detections
from mnistctl.run import progress
from mnistctl.types import Floats, Result

PAGES = 2_000  # of a split that has as many images or more; else one per image
MIN_OVERLAP = 0.5  # intersection / union of a digit's box and the one that was found
NO_DIGIT, MISSED = "no digit", "missed"  # the row and the column of the confusion matrix

_BATCH = 50  # pages
_LOWEST_THRESHOLD = 0.1  # for a model that is not calibrated
_SEED = 0  # of all pages


class PageErrors(NamedTuple):
    """What was found on a page, compared with the truth. Digits that are cut off are left out."""

    pairs: npt.NDArray[np.int64]  # (K, 2): indices of a digit and of the one found in its place
    missed: npt.NDArray[np.int64]  # indices of digits that were not found
    false_alarms: npt.NDArray[np.int64]  # indices of what was found where there is no digit


def threshold_of(predictor: PagePredictor) -> float:
    """The lowest score of a digit, in [0, 1]."""
    threshold = predictor.metadata.threshold
    return _LOWEST_THRESHOLD if threshold is None else threshold


def find_digits(outputs: PageOutputs, threshold: float) -> list[Detections]:
    """The digits of N pages.

    Args:
        outputs: of the detector.
        threshold: the lowest score of a digit, in [0, 1].
    """
    pages = []
    for scores, boxes in zip(*outputs, strict=True):
        rows, columns = np.nonzero(scores.max(axis=0) >= threshold)
        peaks = Detections(boxes[:, rows, columns].T, scores[:, rows, columns].T)
        found, _ = detect.suppress(peaks)
        pages.append(found)
    return pages


def are_equal(first: Detections, second: Detections) -> bool:
    """Whether two results for a page have the same digits in the same places."""
    pairs = _pairs(first.boxes, second)
    is_complete = len(first.boxes) == len(second.boxes) == len(pairs)
    return is_complete and bool((first.labels[pairs[:, 0]] == second.labels[pairs[:, 1]]).all())


def count_correct(page: Page, found: Detections) -> tuple[int, int]:
    """The digits of a page that were found with the right label, and the digits and false alarms."""
    errors = compare(page, found)
    digits, answers = errors.pairs.T
    correct = int((page.labels[digits] == found.labels[answers]).sum())
    return correct, int((page.labels >= 0).sum()) + len(errors.false_alarms)


def compare(page: Page, found: Detections) -> PageErrors:
    """Compare what was found on a page with its digits."""
    is_digit = page.labels >= 0
    digits = np.flatnonzero(is_digit)
    pairs = _pairs(page.boxes[digits], found)
    pairs[:, 0] = digits[pairs[:, 0]]
    extra = np.setdiff1d(np.arange(len(found.boxes)), pairs[:, 1])
    if len(extra) and not is_digit.all():
        shared, areas = _intersections(found.boxes[extra], page.boxes[~is_digit])
        extra = extra[(shared / areas[:, None]).max(axis=1) < MIN_OVERLAP]
    return PageErrors(pairs, np.setdiff1d(digits, pairs[:, 0]), extra)


def _pairs(boxes: Floats, found: Detections) -> npt.NDArray[np.int64]:
    """Each box and what was found in its place, (K, 2); the most likely ones choose first."""
    pairs: list[tuple[int, int]] = []
    if len(boxes) and len(found.boxes):
        shared, areas = _intersections(found.boxes, boxes)
        overlaps = shared / (areas[:, None] + _areas(boxes) - shared)
        for index in np.argsort(-found.scores.max(axis=1), kind="stable"):
            best = int(overlaps[index].argmax())
            if overlaps[index, best] >= MIN_OVERLAP:
                pairs.append((best, int(index)))
                overlaps[:, best] = 0
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _intersections(boxes: Floats, others: Floats) -> tuple[Floats, Floats]:
    """The area that N boxes share with M others, (N, M), and the areas of the N boxes."""
    starts = np.maximum(boxes[:, None, :2], others[:, :2])
    ends = np.minimum(boxes[:, None, 2:], others[:, 2:])
    return np.maximum(ends - starts, 0).prod(axis=2), _areas(boxes)


def _areas(boxes: Floats) -> Floats:
    areas: Floats = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-6)
    return areas


@dataclass(frozen=True)
class NumbersReport(Result):
    """The metrics of a model for numbers on pages that are composed of a split's images.

    A digit is found if a box overlaps its own by half of their union. Digits that are cut off by the
    edge of the page do not count.
    """

    model: str  # path of the model file
    dataset: str  # of whose images the pages are composed
    split: str  # train, validation, test or another split of the dataset
    pages: int  # number of pages
    digits: int  # on all pages
    found: int  # by the model, false alarms included
    threshold: float  # the lowest score of a digit, in [0, 1]
    accuracy: float  # right answers / digits and false alarms, in [0, 1]
    precision: float  # share of what was found that is a digit with this label, in [0, 1]
    recall: float  # share of digits that were found with the right label, in [0, 1]
    f1: float  # harmonic mean of precision and recall, in [0, 1]
    detection_precision: float  # the same whatever the label: share that is a digit, in [0, 1]
    detection_recall: float  # share of digits that were found, in [0, 1]
    page_accuracy: float  # share of pages without an error, in [0, 1]
    page_accuracy_interval: tuple[float, float]  # 95% Wilson interval
    per_class: list[dict[str, Any]]  # label, digits, precision, recall, f1 of each class
    confusion: list[list[int]]  # digits; rows: true class, no digit; columns: predicted class, missed
    most_confused: list[dict[str, Any]]  # label, predicted, digits; the most frequent first
    not_calibrated: str | None  # why the model has no temperature and no threshold; null: it has
    plots: list[str] = field(default_factory=list)  # paths of the plots that were drawn

    def check_min_accuracy(self, min_accuracy: float | None) -> None:
        """Check that the accuracy is at least a limit in [0, 1]; None: no limit.

        Raises:
            CheckFailedError: it is lower.
        """
        if min_accuracy is not None and not self.accuracy >= min_accuracy:
            raise CheckFailedError(
                f"accuracy {self.accuracy:.6g} on pages of {self.dataset} {self.split} is below "
                f"--min-accuracy {min_accuracy}"
            )


class ReadPage(NamedTuple):
    """A page, what was found on it, and the errors."""

    page: Page
    found: Detections
    errors: PageErrors

    @property
    def mistakes(self) -> int:
        """The number of errors: wrong labels, missed digits and false alarms."""
        digits, answers = self.errors.pairs.T
        wrong_labels = self.page.labels[digits] != self.found.labels[answers]
        return int(wrong_labels.sum()) + len(self.errors.missed) + len(self.errors.false_alarms)


def compose_pages(split: Split) -> Iterator[Page]:
    """Yield the pages of a split; they are the same for every call."""
    bank = stream.build_bank(split, seed=_SEED)
    for number in range(min(PAGES, len(split.images))):
        yield compose.compose(bank, (_SEED, number), height=stream.HEIGHT, width=stream.WIDTH)


def measure(
    predictor: PagePredictor, split: Split, *, model: str
) -> tuple[NumbersReport, list[ReadPage]]:
    """Measure a detector of digits on pages of a split of at least one image.

    Raises:
        UsageError: the split is empty, or the classes differ.
        ModelError: the model returns values that are not finite.
    """
    class_names = predictor.metadata.class_names
    check_split(class_names, split)
    pages = _read_pages(predictor, split)
    confusion = _count(pages, classes=len(class_names))
    threshold = threshold_of(predictor)
    digits, found = int(confusion[:-1].sum()), int(confusion[:, :-1].sum())
    right, detected = int(confusion.trace()), int(confusion[:-1, :-1].sum())
    pages_right = sum(not page.mistakes for page in pages)
    report = NumbersReport(
        model=model,
        dataset=split.dataset,
        split=split.name,
        pages=len(pages),
        digits=digits,
        found=found,
        threshold=threshold,
        accuracy=right / max(1, digits + found - detected),
        precision=right / max(1, found),
        recall=right / max(1, digits),
        f1=2 * right / max(1, digits + found),
        detection_precision=detected / max(1, found),
        detection_recall=detected / max(1, digits),
        page_accuracy=pages_right / len(pages),
        page_accuracy_interval=metrics.wilson_interval(pages_right, len(pages)),
        per_class=[
            {"label": row["label"], "digits": row["images"]}
            | {name: row[name] for name in ("precision", "recall", "f1")}
            for row in metrics.per_class(confusion, [*class_names, NO_DIGIT])[:-1]
        ],
        confusion=confusion.tolist(),
        most_confused=_most_confused(confusion, class_names),
        not_calibrated=predictor.metadata.not_calibrated,
    )
    return report, pages


def _read_pages(predictor: PagePredictor, split: Split) -> list[ReadPage]:
    pages: list[ReadPage] = []
    threshold, count = threshold_of(predictor), min(PAGES, len(split.images))
    for batch in _batches(compose_pages(split)):
        progress.current().advance("reading pages", len(pages), count)
        outputs = predictor(np.stack([page.image for page in batch]))
        if not all(np.isfinite(values).all() for values in outputs):
            raise ModelError("the model cannot be used: it returns values that are not finite")
        for page, found in zip(batch, find_digits(outputs, threshold), strict=True):
            pages.append(ReadPage(page, found, compare(page, found)))
    progress.current().advance("reading pages", count, count)
    return pages


def _batches(pages: Iterator[Page]) -> Iterator[list[Page]]:
    while batch := list(itertools.islice(pages, _BATCH)):
        yield batch


def _count(pages: Sequence[ReadPage], *, classes: int) -> metrics.Counts:
    """Counts of digits, (classes + 1, classes + 1): the last row: no digit; the last column: missed."""
    confusion = np.zeros((classes + 1, classes + 1), dtype=np.int64)
    for page, found, errors in pages:
        for digit, answer in errors.pairs:
            confusion[page.labels[digit], found.labels[answer]] += 1
        for digit in errors.missed:
            confusion[page.labels[digit], classes] += 1
        for answer in errors.false_alarms:
            confusion[classes, found.labels[answer]] += 1
    return confusion


def _most_confused(confusion: metrics.Counts, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """The most frequent confusions of two classes."""
    pairs = metrics.most_confused(confusion[:-1, :-1], list(class_names))
    return [
        {"label": pair["label"], "predicted": pair["predicted"], "digits": pair["images"]}
        for pair in pairs
    ]
