"""Find the digits of a picture with a detector, at several scales."""

import math
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mnistctl.images import paper
from mnistctl.images.decode import Picture
from mnistctl.models.predictor import PagePredictor
from mnistctl.pages import camera
from mnistctl.pages.arrange import Boxes, arrange, row_blocks
from mnistctl.pages.camera import Pixels
from mnistctl.types import Floats, Labels

# Scales. A digit is at most as high as its picture.
_LARGE_PICTURE = 128  # pixels: height from which a picture is read at its own size too
_PAGE_HEIGHT = 76  # pixels: height of the largest page for a smaller picture
_MIN_PAGE_HEIGHT = 27  # pixels: height of the smallest page
_STEP = math.sqrt(2)  # between scales
_MAX_ASPECT = 2.5  # height / width of a digit
_MAX_ENLARGEMENT = 4.0
_MAX_PAGE_PIXELS = 1_100_000  # of one page
_WHITE = 230  # grey level of paper, which may be brighter in places
_MARGIN = 4  # pixels of paper around the picture, at least
_MULTIPLE = 16  # sides of pages are multiples of it

# Digits on a page.
MIN_SCORE = 0.1  # lower scores are ignored
_MIN_DIGIT, _MAX_DIGIT = 9.0, 72.0  # pixels: height of the digits that the detector knows
_MAX_PEAKS = 1_000  # of a page: the most likely ones
_MAX_OVERLAP = 0.35  # intersection / union of two digits
_MAX_COVER = 0.6  # share of a digit's box that is in another's
_MIN_AREA = 1e-6  # square pixels: of an empty box

# Digits of all scales.
_SAME_DIGIT = 0.5  # intersection / union of the boxes of one digit at two scales
_VOTES = 3  # scales that decide about the digits of a line
_MIN_VOTE = 0.2  # lowest score of a digit that has a say in that
_MAX_GROUPED = 4_000  # detections at all scales together: the most certain ones


class Detections(NamedTuple):
    """N possible digits of a picture."""

    boxes: Boxes  # (N, 4) in pixels of the picture
    scores: Floats  # (N, classes)

    @property
    def labels(self) -> Labels:
        """The most likely classes, int64 (N,)."""
        labels: Labels = self.scores.argmax(axis=1)
        return labels

    def at_least(self, threshold: float) -> "Detections":
        """Those with a score that is not below the threshold."""
        likely = self.scores.max(axis=1, initial=0) >= threshold
        return Detections(self.boxes[likely], self.scores[likely])


def find(pixels: Pixels, detector: PagePredictor) -> Detections:
    """Everything in a picture that may be a digit, in any order.

    Args:
        pixels: of the picture, see `grey_levels`.
        detector: finds digits that are 9 to 72 pixels high.

    Raises:
        ModelError: the runtime cannot run the detector.
    """
    found = [_detect(pixels, scale, detector) for scale in _scales(*pixels.shape)]
    return _fuse(found)


def grey_levels(picture: Picture) -> Pixels:
    """The picture as the detector expects it: uint8 (H, W), 0 = paper, 255 = the darkest ink.

    Args:
        picture: dark digits on light paper, or light ones on dark paper.
    """
    bright = paper.even_brightness(picture.colours)
    return camera.stretch(np.rint(_WHITE * bright.clip(0, 255 / _WHITE)).astype(np.uint8))


def _scales(height: int, width: int) -> list[float]:
    """The scales for a picture: size of the page / size of the picture, from large to small.

    A digit may fill its picture. A large picture may have many small digits, so its size is kept too.
    """
    highest = min(height, _MAX_ASPECT * width)
    largest = min(_PAGE_HEIGHT / highest, _MAX_ENLARGEMENT) if highest < _LARGE_PICTURE else 1.0
    largest = min(largest, math.sqrt(_MAX_PAGE_PIXELS / (height * width)))
    smallest = min(largest, _MIN_PAGE_HEIGHT / highest)
    count = math.floor(math.log(largest / smallest, _STEP) + 0.1)
    return [largest / _STEP**number for number in range(count + 1)]


def _page(pixels: Pixels, scale: float) -> Pixels:
    height, width = (max(1, round(side * scale)) for side in pixels.shape)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    rows, columns = (-(-(side + 2 * _MARGIN) // _MULTIPLE) * _MULTIPLE for side in (height, width))
    page = np.zeros((rows, columns), dtype=np.uint8)
    area = page[_MARGIN : _MARGIN + height, _MARGIN : _MARGIN + width]
    area[...] = cv2.resize(pixels, (width, height), interpolation=method)
    return page


def _detect(pixels: Pixels, scale: float, detector: PagePredictor) -> Detections:
    """The digits that are found at one scale."""
    outputs = detector(_page(pixels, scale)[None])
    best = outputs.scores[0].max(axis=0)
    rows, columns = np.nonzero(best > MIN_SCORE)
    order = np.argsort(-best[rows, columns], kind="stable")[:_MAX_PEAKS]
    rows, columns = rows[order], columns[order]
    boxes = outputs.boxes[0][:, rows, columns].T
    scores = outputs.scores[0][:, rows, columns].T
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    is_known = (
        (heights > _MIN_DIGIT) & (heights < _MAX_DIGIT) & (widths > 0) & (widths < 2 * _MAX_DIGIT)
    )
    known = np.flatnonzero(is_known)
    found = Detections((boxes[known] - _MARGIN) / scale, scores[known])
    return suppress(found)[0]


def suppress(found: Detections) -> tuple[Detections, npt.NDArray[np.intp]]:
    """Remove detections that overlap a more certain one.

    Returns:
        The others, and for each of the N detections the index of the one that remains in its place.
    """
    overlaps = _overlap(found.boxes, union=_MAX_OVERLAP, cover=_MAX_COVER)
    groups = _greedy_groups(overlaps, found.scores.max(axis=1, initial=0))
    owners = np.zeros(len(found.boxes), dtype=np.intp)
    for index, members in enumerate(groups):
        owners[members] = index
    kept = [members[0] for members in groups]
    return Detections(found.boxes[kept], found.scores[kept]), owners


def _greedy_groups(belongs: npt.NDArray[np.bool_], certainty: Floats) -> list[npt.NDArray[np.intp]]:
    """Group N detections: the most certain one and those that belong to it, then the next one.

    Args:
        belongs: (N, N), whether two detections can be in one group.
        certainty: (N,).

    Returns:
        The indices of the members of each group, the most certain one first.
    """
    order = np.argsort(-certainty, kind="stable")
    ranks = np.argsort(order)
    is_free = np.ones(len(order), dtype=bool)
    groups = []
    for first in order.tolist():
        if is_free[first]:
            members = np.flatnonzero(belongs[first] & is_free)
            is_free[members] = False
            is_free[first] = False
            others = members[members != first]
            groups.append(np.array([first, *others[np.argsort(ranks[others])]], dtype=np.intp))
    return groups


def _overlap(boxes: Boxes, *, union: float, cover: float) -> npt.NDArray[np.bool_]:
    """Which pairs of N boxes overlap: (N, N).

    Args:
        boxes: (N, 4).
        union: least intersection / union of such a pair.
        cover: or least intersection / smaller area.
    """
    left, top, right, bottom = boxes.T
    area = np.maximum((right - left) * (bottom - top), _MIN_AREA)
    overlap = np.zeros((len(boxes), len(boxes)), dtype=bool)
    for block in row_blocks(len(boxes)):
        rows = block, None
        width = np.minimum(right[rows], right) - np.maximum(left[rows], left)
        height = np.minimum(bottom[rows], bottom) - np.maximum(top[rows], top)
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        is_same = shared >= union * (area[rows] + area - shared)
        overlap[block] = is_same | (shared >= cover * np.minimum(area[rows], area))
    return overlap


def _fuse(found: list[Detections]) -> Detections:
    """One detection for those of the same digit at several scales.

    The digits of a line have about the same size, so the line decides which scales count: those at
    which its digits are most certain. A digit's scores are the means over these scales.
    """
    boxes, scores = _group(found)
    best = scores.max(axis=2, initial=0)  # (N, scales)
    votes = min(_VOTES, len(found))
    certainty = np.sort(best, axis=1)[:, -votes:].mean(axis=1)
    lines = _lines(boxes, certainty)
    fused = np.zeros((len(boxes), scores.shape[2]), dtype=np.float32)
    for line in range(lines.max(initial=-1) + 1):
        members = np.flatnonzero(lines == line)
        is_digit = best[members] >= _MIN_VOTE
        means = (best[members] * is_digit).sum(axis=0) / np.maximum(is_digit.sum(axis=0), 1)
        scales = np.argsort(-means, kind="stable")[:votes]
        fused[members] = scores[members][:, scales].mean(axis=1)
    return suppress(Detections(boxes, fused))[0]


def _group(found: list[Detections]) -> tuple[Boxes, Floats]:
    """Group the detections of the same digit at several scales.

    Returns:
        Boxes, (N, 4), and scores, (N, scales, classes): 0 for a scale at which it is not found.
    """
    boxes = np.concatenate([part.boxes for part in found])
    scores = np.concatenate([part.scores for part in found])
    scales = np.repeat(np.arange(len(found)), [len(part.boxes) for part in found])
    best = scores.max(axis=1, initial=0)
    candidates = np.argsort(-best, kind="stable")[:_MAX_GROUPED]
    boxes, scores = boxes[candidates], scores[candidates]
    scales, best = scales[candidates], best[candidates]
    group_boxes, group_scores = [], []
    for members in _greedy_groups(_overlap(boxes, union=_SAME_DIGIT, cover=math.inf), best):
        group_boxes.append(best[members] @ boxes[members] / best[members].sum())
        table = np.zeros((len(found), scores.shape[1]), dtype=np.float32)
        table[scales[members[::-1]]] = scores[members[::-1]]  # of two at one scale, the more certain
        group_scores.append(table)
    return (
        np.array(group_boxes, dtype=np.float32).reshape(-1, 4),
        np.array(group_scores, dtype=np.float32).reshape(-1, len(found), scores.shape[1]),
    )


def _lines(boxes: Boxes, certainty: Floats) -> npt.NDArray[np.intp]:
    """The line of each box, (N,). A box that overlaps a more certain one is in the line of that."""
    kept, owners = suppress(Detections(boxes, certainty[:, None]))
    lines = np.zeros(len(kept.boxes), dtype=np.intp)
    for index, line, _ in arrange(kept.boxes):
        lines[index] = line
    return lines[owners]
