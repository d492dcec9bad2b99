"""Metrics of labels and model outputs, in NumPy."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mnistctl.types import Labels

Counts = npt.NDArray[np.int64]


def confusion_matrix(labels: Labels, predicted: Labels, *, classes: int) -> Counts:
    """The number of images, (C, C): rows are the true class, columns the predicted class."""
    cells = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.int64)


def per_class(confusion: Counts, class_names: list[str]) -> list[dict[str, Any]]:
    """Precision, recall and F1 (each in [0, 1]) and the number of images of every class.

    The precision of a class that was never predicted is 0, and so is the recall of one without images.
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


def most_confused(confusion: Counts, class_names: list[str], *, count: int = 5) -> list[dict[str, Any]]:
    """The most frequent confusions of a true class with a predicted class, most frequent first."""
    pairs: list[dict[str, Any]] = [
        {"label": class_names[true], "predicted": class_names[predicted], "images": int(images)}
        for (true, predicted), images in np.ndenumerate(confusion)
        if true != predicted and images
    ]
    return sorted(pairs, key=lambda pair: -pair["images"])[:count]


def wilson_interval(right: int, images: int, *, z: float = 1.959964) -> tuple[float, float]:
    """Wilson score interval of the share `right` / `images`; z = 1.96 is for 95%.

    Source: E. B. Wilson, Journal of the American Statistical Association 22 (1927), 209-212.
    """
    share = right / images
    centre = share + z * z / (2 * images)
    half = z * math.sqrt(share * (1 - share) / images + z * z / (4 * images * images))
    scale = 1 + z * z / images
    return (max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale))


def cross_entropy(probabilities: npt.NDArray[np.float32], labels: Labels) -> float:
    """Mean of -ln(probability of the true class) in nats, from probabilities (N, C).

    Probabilities below 1e-12 count as 1e-12, so that one probability of 0 does not make it infinite.
    """
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return abs(float(np.log(np.clip(true, 1e-12, 1)).mean()))


def fit_temperature(logits: npt.NDArray[np.float32], labels: Labels) -> float:
    """The temperature T in [0.01, 100] that minimises the cross-entropy of softmax(logits / T).

    The cross-entropy is convex in 1/T, so the root of its slope is found by bisection.

    Args:
        logits: (N, C), N of 1 or more.
        labels: (N,).

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks".
    """
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    true_mean = shifted[np.arange(len(labels)), labels].mean()
    low, high = 0.01, 100.0  # bounds of 1/T
    for _ in range(60):
        middle = math.sqrt(low * high)
        weights = np.exp(middle * shifted)
        expected = (weights * shifted).sum(axis=1) / weights.sum(axis=1)
        if expected.mean() < true_mean:  # the slope is negative
            low = middle
        else:
            high = middle
    return 1 / math.sqrt(low * high)


def reliability(
    probabilities: npt.NDArray[np.float32], labels: Labels, *, bins: int = 15
) -> list[dict[str, Any]]:
    """Accuracy by confidence, which is the probability of the predicted class.

    Args:
        probabilities: (N, C), N of 1 or more.
        labels: (N,).
        bins: number of bins of equal width; empty ones are left out.

    Returns:
        For each bin the number of images, and their mean confidence and accuracy in [0, 1].
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    indices = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    return [
        {
            "images": int(inside.sum()),
            "confidence": float(confidence[inside].mean()),
            "accuracy": float(right[inside].mean()),
        }
        for inside in (indices == index for index in range(bins))
        if inside.any()
    ]


def expected_calibration_error(bins: Sequence[dict[str, Any]]) -> float:
    """Mean absolute difference of confidence and accuracy over the bins of `reliability`, by images.

    Source: Naeini et al. 2015; Guo et al. 2017, who use 15 bins.
    """
    images = sum(row["images"] for row in bins)
    distances = (row["images"] * abs(row["accuracy"] - row["confidence"]) for row in bins)
    return float(sum(distances) / images)


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided p-value of McNemar's exact test for two classifiers on the same images.

    Args:
        only_first: images that only the first classifies correctly.
        only_second: images that only the second classifies correctly.

    Source: Q. McNemar, Psychometrika 12 (1947), 153-157; here with the binomial distribution.
    """
    images = only_first + only_second
    ways = tail = 1  # ways: a binomial coefficient, from the previous one for speed
    for count in range(min(only_first, only_second)):
        ways = ways * (images - count) // (count + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << images))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several simultaneous tests, adjusted by Holm's method.

    Source: S. Holm, Scandinavian Journal of Statistics 6 (1979), 65-70.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
