"""Read the digits of a picture: a detector finds them, and a classifier reads each once more."""

import math
from typing import NamedTuple

import numpy as np

from mnistctl.images import center
from mnistctl.images.decode import Picture
from mnistctl.images.digit import Box
from mnistctl.models.predictor import PagePredictor, Predictor, predict_all
from mnistctl.pages import detect
from mnistctl.pages.arrange import Boxes, arrange, have_neighbours
from mnistctl.pages.camera import Pixels
from mnistctl.types import IMAGE_SIZE, Floats, Images

# The say of the classifier, beside 1 of the detector. Chosen by the strings of composed pictures that
# were read rightly, and by pictures without digits.
_CLASSIFIER_WEIGHT = 0.7  # of its logarithmic probabilities
_FAMILIARITY_WEIGHT = 0.1  # of its familiarity's logit
_MAX_FAMILIARITY = 4.0  # of that logit, and its negative is the least
_BATCH_SIZE = 128  # digits per call

# What is beside a digit of the same height is more likely a digit. Chosen in the same way.
_NEIGHBOUR, _ALONE = 0.8, -0.6  # change of the logit of the familiarity


class FoundDigit(NamedTuple):
    """A digit of a picture."""

    box: Box  # in pixels of the upright picture
    line: int  # index of its line, from the top
    word: int  # index of its word in the line, from the left
    probabilities: Floats  # (classes,), sum 1
    familiarity: float  # how likely this is a digit, in [0, 1]
    image: Images  # uint8 (28, 28)


def read(
    picture: Picture,
    detector: PagePredictor,
    *,
    classifier: Predictor | None = None,
    threshold: float | None,
) -> list[FoundDigit]:
    """The digits of a picture in reading order: line by line, from left to right.

    Args:
        picture: dark digits on light paper, or light ones on dark paper.
        detector: finds digits that are 9 to 72 pixels high.
        classifier: reads each digit once more, and knows better what is no digit; it has the detector's
            classes. None: the detector decides alone.
        threshold: digits with a lower familiarity are ignored; None: the detector's own threshold.

    Raises:
        ModelError: the runtime cannot run a model.
    """
    pixels = detect.grey_levels(picture)
    limit = detector.metadata.threshold if threshold is None else threshold
    if limit is None:
        limit = detect.MIN_SCORE
    found = detect.find(pixels, detector).at_least(_least_score(limit))
    images = [_crop(pixels, box) for box in found.boxes]
    probabilities = _probabilities(found.scores, detector.metadata.temperature)
    evidence = _logit(found.scores.max(axis=1, initial=0))
    if classifier is not None and images:
        outputs = predict_all(classifier, np.stack(images), batch_size=_BATCH_SIZE)
        probabilities = _agree(probabilities, outputs.probabilities)
        opinion = np.clip(_logit(outputs.familiarity), -_MAX_FAMILIARITY, _MAX_FAMILIARITY)
        evidence += _FAMILIARITY_WEIGHT * opinion
    has_neighbour = have_neighbours(found.boxes, _sigmoid(evidence) >= limit)
    familiarity = _sigmoid(evidence + np.where(has_neighbour, _NEIGHBOUR, _ALONE))
    kept = np.flatnonzero(familiarity >= limit)
    return [
        FoundDigit(
            box=_picture_box(found.boxes[kept[number]], picture),
            line=line,
            word=word,
            probabilities=probabilities[kept[number]],
            familiarity=float(familiarity[kept[number]]),
            image=images[kept[number]],
        )
        for number, line, word in arrange(found.boxes[kept])
    ]


def _probabilities(scores: Floats, temperature: float) -> Floats:
    """The class probabilities of N digits, (N, classes): softmax of the scores' logits."""
    return _softmax(_logit(scores) / temperature)


def _softmax(logits: Floats) -> Floats:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    probabilities: Floats = (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities


def _agree(probabilities: Floats, others: Floats) -> Floats:
    """The class probabilities of N digits by two models together, (N, classes).

    Args:
        probabilities: (N, classes), of the detector.
        others: (N, classes), of the classifier.
    """
    own, other = (np.log(np.maximum(part, 1e-6)) for part in (probabilities, others))
    logits = (own + _CLASSIFIER_WEIGHT * other) / (1 + _CLASSIFIER_WEIGHT)
    return _softmax(logits.astype(np.float32))


def _least_score(limit: float) -> float:
    """The lowest score of the detector with which something can still become a digit."""
    help_ = _FAMILIARITY_WEIGHT * _MAX_FAMILIARITY + _NEIGHBOUR
    return float(_sigmoid(_logit(np.array([limit], dtype=np.float32)) - help_)[0])


def _sigmoid(logits: Floats) -> Floats:
    probabilities: Floats = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return probabilities


def _logit(probabilities: Floats) -> Floats:
    clipped = np.clip(probabilities, 1e-6, 1 - 1e-6)
    logits: Floats = np.log(clipped / (1 - clipped))
    return logits


def _inside(box: Boxes, height: int, width: int) -> tuple[int, int, int, int]:
    """The whole pixels of a box: left, top, right, bottom; at least one pixel of the picture."""
    left = min(max(0, math.floor(box[0])), width - 1)
    top = min(max(0, math.floor(box[1])), height - 1)
    right = min(max(left + 1, math.ceil(box[2])), width)
    bottom = min(max(top + 1, math.ceil(box[3])), height)
    return left, top, right, bottom


def _picture_box(box: Boxes, picture: Picture) -> Box:
    height, width = picture.colours.shape[:2]
    left, top, right, bottom = (round(side * picture.scale) for side in _inside(box, height, width))
    return Box(left, top, right - left, bottom - top)


def _crop(pixels: Pixels, box: Boxes) -> Images:
    """The digit in a box as the single-digit reader wants it, uint8 (28, 28)."""
    left, top, right, bottom = _inside(box, *pixels.shape)
    ink = pixels[top:bottom, left:right] / np.float32(255)
    strongest = np.quantile(ink, 0.95)
    if strongest <= 0.02:
        return np.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    ink = np.clip(ink / strongest, 0, 1)
    return center.fit(np.where(ink > 0.25, ink, 0).astype(np.float32))
