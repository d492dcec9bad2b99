"""The lines and words of digits that lie on a page in any order."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mnistctl.types import Floats

Boxes = npt.NDArray[np.float32]  # (N, 4): left, top, right, bottom in pixels

_MAX_RISE = 0.5  # vertical distance of neighbours' centres from the line / their mean height
_MAX_GAP = 5.0  # gap between neighbours of a line / their mean height
_GAP_WEIGHT = 0.1  # of the gap, in the choice between several lines; the vertical distance has 1
_MAX_SIZE_RATIO = 3.0  # height of the higher neighbour / height of the lower one
_MAX_SLOPE = 0.15  # rows per column: the steepest line, 8.5°
_MIN_SLOPES = 3  # pairs of neighbours: with fewer, lines are level
_MAX_NEIGHBOURS = 100  # boxes to the right that are compared with a box
_WORD_GAP = 0.6  # gap between words / height of the line, at least
_GAP_RATIO = 0.5  # how much wider it is than the usual gap / height of the line, at least

# A neighbour of a digit.
_NEIGHBOUR_GAP = 1.5  # space between the two / height of the higher one, at most
_NEIGHBOUR_RISE = 0.6  # vertical distance of the centres / height of the lower one, at most
_NEIGHBOUR_RATIO = 1.35  # height of the higher one / height of the lower one, at most

_BLOCK_ROWS = 256  # boxes that are compared with all others at a time


class Place(NamedTuple):
    """Where a digit is in the reading order."""

    number: int  # index of the digit's box
    line: int  # index of its line, from the top
    word: int  # index of its word in the line, from the left


def arrange(boxes: Boxes) -> list[Place]:
    """The places of all boxes in reading order: line by line, from left to right."""
    if not len(boxes):
        return []
    lines = _group_lines(boxes)
    return [
        Place(number, index, word)
        for index, line in enumerate(lines)
        for number, word in zip(line, _words(boxes[line]), strict=True)
    ]


def _group_lines(boxes: Boxes) -> list[list[int]]:
    """Boxes by line, from top to bottom; the boxes of each line from left to right."""
    x, y = (boxes[:, 0] + boxes[:, 2]) * 0.5, (boxes[:, 1] + boxes[:, 3]) * 0.5
    heights = boxes[:, 3] - boxes[:, 1]
    level = y - np.float32(_common_slope(x, y, heights)) * x
    last = np.zeros(len(boxes), dtype=np.intp)  # the last box of each line
    lines: list[list[int]] = []
    for number in np.argsort(x, kind="stable").tolist():
        ends = last[: len(lines)]
        height = (heights[ends] + heights[number]) / 2
        ratio = heights[ends] / heights[number]
        rise = np.abs(level[ends] - level[number]) / height
        gap = (boxes[number, 0] - boxes[ends, 2]) / height
        is_next = (rise < _MAX_RISE) & (gap < _MAX_GAP)
        is_next &= (ratio < _MAX_SIZE_RATIO) & (ratio > 1 / _MAX_SIZE_RATIO)
        if is_next.any():
            distance = rise + _GAP_WEIGHT * np.maximum(gap, 0)
            line = int(np.argmin(np.where(is_next, distance, np.inf)))
            lines[line].append(number)
        else:
            line = len(lines)
            lines.append([number])
        last[line] = number
    return sorted(lines, key=lambda line: float(np.mean(level[line])))


def _common_slope(x: Floats, y: Floats, heights: Floats) -> float:
    """The slope of most lines, in rows per column: the median slope between neighbours.

    Args:
        x: (N,), the column of each box's centre.
        y: (N,), its row.
        heights: (N,), of the boxes.
    """
    order = np.argsort(x, kind="stable")
    x, y, heights = x[order], y[order], heights[order]
    slopes = []
    for number in range(len(x) - 1):
        nearby = slice(number + 1, number + 1 + _MAX_NEIGHBOURS)
        across, down = x[nearby] - x[number], y[nearby] - y[number]
        is_next = (across > 0.3 * heights[number]) & (across < 4 * heights[number])
        is_next &= np.abs(down) < np.minimum(_MAX_RISE * heights[number], _MAX_SLOPE * across)
        slopes.extend((down[is_next] / across[is_next])[:1].tolist())
    return float(np.median(slopes)) if len(slopes) >= _MIN_SLOPES else 0.0


def _words(boxes: Boxes) -> list[int]:
    """The index of each box's word, for the boxes of a line from left to right."""
    height = float(np.median(boxes[:, 3] - boxes[:, 1]))
    gaps = (boxes[1:, 0] - boxes[:-1, 2]) / height
    if not len(gaps):
        return [0]
    limit = max(_WORD_GAP, float(np.median(gaps)) + _GAP_RATIO)
    return [0, *np.cumsum(gaps > limit).tolist()]


def have_neighbours(boxes: Boxes, is_likely: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Whether each of N boxes has a likely digit of about its height beside it, (N,).

    Args:
        boxes: (N, 4).
        is_likely: (N,), whether a box is likely to be a digit.
    """
    left, top, right, bottom = boxes.T
    heights, middles = bottom - top, (top + bottom) / 2
    count = np.zeros(len(boxes), dtype=np.intp)
    for block in row_blocks(len(boxes)):
        rows = block, None
        low, high = np.minimum(heights[rows], heights), np.maximum(heights[rows], heights)
        gap = np.maximum(left[rows] - right, left - right[rows])
        is_near = (gap < _NEIGHBOUR_GAP * high) & (
            np.abs(middles[rows] - middles) < _NEIGHBOUR_RISE * low
        )
        is_neighbour = is_near & (high < _NEIGHBOUR_RATIO * low) & is_likely
        count[block] = is_neighbour.sum(axis=1)
    return count > is_likely  # a likely digit counts itself


def row_blocks(count: int) -> Iterator[slice]:
    """Divide rows, so that a table with all pairs of boxes needs little memory."""
    for start in range(0, count, _BLOCK_ROWS):
        yield slice(start, start + _BLOCK_ROWS)
