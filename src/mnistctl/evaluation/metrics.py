"""Figures from labels and outputs, in NumPy: the same for every kind of model."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mnistctl.types import Labels

Counts = npt.NDArray[np.int64]


def confusion_matrix(labels: Labels, predicted: Labels, *, classes: int) -> Counts:
    """Count images (C, C): rows are the true class, columns the predicted one."""
    cells = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.int64)


def per_class(confusion: Counts, class_names: list[str]) -> list[dict[str, Any]]:
    """Precision, recall, F1 (each in [0, 1]) and the number of images of every class.

    A class that was never predicted has precision 0, one without images recall 0.
    """
    rows = []
    for index, name in enumerate(class_names):
        right = int(confusion[index, index])
        images = int(confusion[index].sum())
        predicted = int(confusion[:, index].sum())
        rows.append(
            {
                "label": name,
                "images": images,
                "precision": right / predicted if predicted else 0.0,
                "recall": right / images if images else 0.0,
                "f1": 2 * right / (images + predicted) if images + predicted else 0.0,
            }
        )
    return rows


def most_confused(confusion: Counts, class_names: list[str], *, most: int = 5) -> list[dict[str, Any]]:
    """The pairs of classes mixed up most often, one way round each, the worst first."""
    pairs: list[dict[str, Any]] = [
        {"label": class_names[true], "predicted": class_names[guess], "images": int(count)}
        for (true, guess), count in np.ndenumerate(confusion)
        if true != guess and count
    ]
    return sorted(pairs, key=lambda pair: -pair["images"])[:most]


def wilson_interval(right: int, images: int, *, z: float = 1.959964) -> tuple[float, float]:
    """Wilson score interval for a share, `right` of `images`; z = 1.96 gives 95%.

    Source: E. B. Wilson, Journal of the American Statistical Association 22 (1927), 209-212.
    """
    share = right / images
    centre = share + z * z / (2 * images)
    half = z * math.sqrt(share * (1 - share) / images + z * z / (4 * images * images))
    scale = 1 + z * z / images
    return (max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale))


def cross_entropy(probabilities: npt.NDArray[np.float32], labels: Labels) -> float:
    """Mean of -ln(probability of the true class), from probabilities (N, C).

    Probabilities below 1e-12 count as 1e-12, so that one impossible answer is not infinite.
    """
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(true, 1e-12)).mean())


def fit_temperature(logits: npt.NDArray[np.float32], labels: Labels) -> float:
    """The temperature T at which softmax(logits / T) has the least cross-entropy on these labels.

    That of 1/T has one minimum, which is found by bisection of its slope; T is in [0.01, 100].

    Args:
        logits: (N, C), N of 1 or more.
        labels: (N,).

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks".
    """
    exact = logits.astype(np.float64)
    exact -= exact.max(axis=1, keepdims=True)
    true = exact[np.arange(len(labels)), labels].mean()
    low, high = 0.01, 100.0  # of 1/T
    for _ in range(60):
        middle = math.sqrt(low * high)
        weights = np.exp(middle * exact)
        expected = (weights * exact).sum(axis=1) / weights.sum(axis=1)
        low, high = (middle, high) if expected.mean() < true else (low, middle)
    return 1 / math.sqrt(low * high)


def reliability(
    probabilities: npt.NDArray[np.float32], labels: Labels, *, bins: int = 15
) -> list[dict[str, Any]]:
    """How often the best guess is right, by how probable it was said to be.

    Args:
        probabilities: (N, C), N of 1 or more.
        labels: (N,).
        bins: of equal width; empty ones are left out.

    Returns:
        For each bin its images, and their mean confidence and accuracy, in [0, 1].
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    places = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    return [
        {
            "images": int(inside.sum()),
            "confidence": float(confidence[inside].mean()),
            "accuracy": float(right[inside].mean()),
        }
        for inside in (places == place for place in range(bins))
        if inside.any()
    ]


def expected_calibration_error(bins: Sequence[dict[str, Any]]) -> float:
    """Mean distance of confidence and accuracy, over all images of the bins of `reliability`.

    Source: Naeini et al. 2015; Guo et al. 2017, with 15 bins as there.
    """
    images = sum(row["images"] for row in bins)
    distances = (row["images"] * abs(row["accuracy"] - row["confidence"]) for row in bins)
    return float(sum(distances) / images)


def mcnemar(only_first: int, only_second: int) -> float:
    """Probability that two equally good classifiers differ so much by chance, or more: two-sided.

    Args:
        only_first: images that the first alone reads rightly.
        only_second: images that the second alone reads rightly.

    Source: Q. McNemar, Psychometrika 12 (1947), 153-157; here exact, by the binomial distribution.
    """
    images = only_first + only_second
    ways = tail = 1  # of so many images to be the first's: a binomial coefficient
    for count in range(min(only_first, only_second)):
        ways = ways * (images - count) // (count + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << images))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several comparisons made at once, adjusted so that they can be read one by one.

    Source: S. Holm, Scandinavian Journal of Statistics 6 (1979), 65-70.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda item: p_values[item])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
