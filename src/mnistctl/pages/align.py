"""Find the place of each digit in a picture whose number is known."""

import numpy as np
import numpy.typing as npt

from mnistctl.pages.arrange import Boxes
from mnistctl.pages.detect import Detections

_MIN_SCORE = 1e-3  # lower scores count as this
_MAX_RISE = 0.5  # vertical distance of neighbours' centres / their mean height
_MAX_RATIO = 2.5  # height of the higher neighbour / height of the lower one
_MAX_OVERLAP = 0.4  # shared width of neighbours / width of the narrower one


def align(number: str, found: Detections) -> npt.NDArray[np.intp] | None:
    """Choose the detection of each digit of a number that is written in one line.

    The choice has the highest sum of the logarithms of two scores of each detection: that of the
    known digit, and its highest one.

    Args:
        number: one or more digits.
        found: possible digits, also those with low scores.

    Returns:
        The index of a detection for each digit, from left to right. None: no detections of that number
        lie in a line.
    """
    if len(found.boxes) < len(number):
        return None
    order = np.argsort(found.boxes[:, 0] + found.boxes[:, 2], kind="stable")
    scores = np.log(np.maximum(found.scores[order], _MIN_SCORE))
    gains = scores[:, [int(digit) for digit in number]] + scores.max(axis=1, keepdims=True)
    can_follow = _can_follow(found.boxes[order])
    totals = gains[:, 0]  # of the best sequence that ends with a detection
    best_previous = []
    for gain in gains.T[1:]:
        sums = np.where(can_follow, totals[:, None], -np.inf)
        best_previous.append(sums.argmax(axis=0))
        totals = sums.max(axis=0) + gain
    if totals.max() == -np.inf:
        return None
    chosen = [int(totals.argmax())]
    for previous in reversed(best_previous):
        chosen.append(int(previous[chosen[-1]]))
    return order[chosen[::-1]]


def _can_follow(boxes: Boxes) -> npt.NDArray[np.bool_]:
    """Whether a box can be the right neighbour of another in a number, (left, right).

    Args:
        boxes: (N, 4), sorted by their centres.
    """
    left, top, right, bottom = boxes.T
    widths, heights, middles = right - left, bottom - top, (top + bottom) / 2
    shared = right[:, None] - left
    rise = np.abs(middles[:, None] - middles)
    ratio = heights[:, None] / heights
    can_follow: npt.NDArray[np.bool_] = (
        np.triu(np.ones(shared.shape, dtype=bool), 1)
        & (shared <= _MAX_OVERLAP * np.minimum(widths[:, None], widths))
        & (rise <= _MAX_RISE * (heights[:, None] + heights) / 2)
        & (np.maximum(ratio, 1 / ratio) <= _MAX_RATIO)
    )
    return can_follow
