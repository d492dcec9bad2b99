"""Split a picture of several digits into its digits, in reading order.

The ink is over-segmented: it is cut wherever two digits may touch. Neighbouring pieces are then joined
again. Of all groupings, the one with the highest total likelihood wins. Each cut through ink lowers it.

Source: Matan et al. 1992, "Multi-Digit Recognition Using a Space Displacement Neural Network", and
LeCun et al. 1998, section V: heuristic over-segmentation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mnistctl.images import center
from mnistctl.images.decode import Grey
from mnistctl.types import Images

Scores = npt.NDArray[np.floating]
Indices = npt.NDArray[np.intp]

# Connected pieces. A piece's size is the longer side of its box.
_MIN_INK = 0.1  # share of the strongest ink: weaker pixels do not connect pieces
_MAX_PIECES = 200  # only the largest pieces are digits
_MAX_OVERLAP = 4  # area of all boxes / area of the picture: further pieces are not digits
_MIN_SIZE = 0.4  # share of the largest piece's size: a smaller piece belongs to a larger one
_MAX_BAR_HEIGHT = 0.4  # height of the bar of a broken 5 / height of the rest of the digit
_MAX_BAR_GAP = 0.25  # gap between the bar and the rest / height of the rest

# Lines.
_MIN_LINE_OVERLAP = 0.4  # share of the shorter piece's height that is level with its neighbour
_MAX_LINE_GAP = 3.0  # gap between neighbours in a line / size of the larger one
_MIN_DIGIT_OVERLAP = 0.5  # share of the narrower piece's width above or below another: one digit

# Cuts. Costs are in strokes: 1 is a cut across one stroke.
_MIN_CUT_WIDTH = 0.35  # width / height of the line: a narrower piece is not cut
_MIN_CUT_DISTANCE = 0.12  # between two cuts, or a cut and the piece's end / height of the line
_MAX_CUT_COST = 3.0  # strokes: no cut goes through more ink
_SIDE_STEP_COST = 0.3  # share of the strongest ink: cost of each column that a cut moves sideways

# Joining cut pieces to digits.
_MAX_WIDTH = 1.7  # width / height of the line: a wider group is not a digit
_USUAL_WIDTH = 0.9  # width / height of the line: wider groups are less likely
_WIDTH_PENALTY = 1.5  # log-likelihood per height of the line that a group is wider than that
_CUT_PENALTY = 0.2  # log-likelihood per stroke that is cut through

# Limits for pictures that are no writing, but look like thousands of digits.
_MAX_CUTS = 4_000  # in a picture
_MAX_WORK = 100_000_000  # pixels that are processed to find cuts, and to join pieces
_SPAN_WORK = 20_000  # pixels: what converting and scoring a small image costs


class Box(NamedTuple):
    """A rectangle in a picture, in pixels from the picture's upper left corner."""

    left: int
    top: int
    width: int
    height: int

    def union(self, other: "Box") -> "Box":
        """The smallest box around both boxes."""
        left, top = min(self.left, other.left), min(self.top, other.top)
        right = max(self.left + self.width, other.left + other.width)
        return Box(left, top, right - left, max(self.bottom, other.bottom) - top)

    @property
    def bottom(self) -> int:
        """Index of the first row below the box."""
        return self.top + self.height


@dataclass(frozen=True)
class InkPiece:
    """A piece of ink that is not cut further."""

    box: Box
    ink: Grey  # (height, width) of the box
    cut_cost: float = 0.0  # strokes that the cut between this and the previous piece goes through


class Digit(NamedTuple):
    """A digit of a picture: its place, and its ink as an image."""

    box: Box
    image: Images  # uint8 (28, 28)
    line: int  # index of its line, from the top


def box_of(ink: Grey) -> Box:
    """The smallest box around all ink, float32 (H, W), at least one pixel above 0."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return Box(int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)


def split(ink: Grey, score: Callable[[Images], Scores]) -> list[Digit]:
    """The digits of a picture in reading order: line by line, from left to right.

    Args:
        ink: float32 (H, W), 0 = paper, at least one pixel above 0.
        score: returns the log-likelihood, (N,), that each image, uint8 (N, 28, 28), is one whole digit.
    """
    lines = _group_lines(_attach_bars(_connected_pieces(ink)))
    max_cuts = _MAX_CUTS // sum(map(len, lines))
    heights = [float(np.median([piece.box.height for piece in pieces])) for pieces in lines]
    cut_lines = [
        [part for piece in pieces for part in _cut(piece, height, max_cuts)]
        for pieces, height in zip(lines, heights, strict=True)
    ]
    work_per_piece = _MAX_WORK / sum(map(len, cut_lines))
    return [
        Digit(box, image, number)
        for number, (pieces, height) in enumerate(zip(cut_lines, heights, strict=True))
        for box, image in _best_digits(pieces, height, score, work_per_piece * len(pieces))
    ]


def _connected_pieces(ink: Grey) -> list[InkPiece]:
    """Connected ink, each small piece together with the nearest large one."""
    import cv2

    is_ink = (ink > _MIN_INK * ink.max()).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(is_ink)
    starts, ends = stats[1:, :2], stats[1:, :2] + stats[1:, 2:4]  # (x, y)
    sizes = (ends - starts).max(axis=1)
    large = np.flatnonzero(sizes > _MIN_SIZE * sizes.max())
    large = large[np.argsort(-sizes[large], kind="stable")[:_MAX_PIECES]]
    # The nearest large piece of each piece: the gap between boxes is negative where they overlap.
    smallest_gaps = np.full(len(sizes), np.inf)
    owners = np.zeros(len(sizes) + 1, dtype=np.intp)
    for index in large:
        gaps = np.maximum(starts - ends[index], starts[index] - ends).max(axis=1)
        is_nearer = gaps < smallest_gaps
        smallest_gaps[is_nearer] = gaps[is_nearer]
        owners[1:][is_nearer] = index + 1
    owners[large + 1] = large + 1
    pixel_owners = owners[labels]
    # A pixel that is too faint to be connected belongs to the nearest piece.
    _, nearest_label = cv2.distanceTransformWithLabels(
        (pixel_owners == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    label_owners = np.zeros(int(nearest_label.max()) + 1, dtype=np.intp)
    label_owners[nearest_label[pixel_owners > 0]] = pixel_owners[pixel_owners > 0]
    rows, columns = np.nonzero(ink)
    pixel_owners = label_owners[nearest_label[rows, columns]]
    order = np.argsort(pixel_owners, kind="stable")
    firsts = np.searchsorted(pixel_owners[order], np.arange(len(sizes) + 2))
    pieces = []
    area = 0
    for index in large:
        pixels = order[firsts[index + 1] : firsts[index + 2]]
        pieces.append(_piece_of_pixels(ink, rows[pixels], columns[pixels]))
        area += pieces[-1].ink.size
        if area > _MAX_OVERLAP * ink.size:
            break
    return pieces


def _piece_of_pixels(ink: Grey, rows: Indices, columns: Indices) -> InkPiece:
    top, left = int(rows.min()), int(columns.min())
    box = Box(left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top)
    piece = np.zeros((box.height, box.width), dtype=np.float32)
    piece[rows - top, columns - left] = ink[rows, columns]
    return InkPiece(box, piece)


def _piece(ink: Grey, *, left: int = 0, top: int = 0, cut_cost: float = 0.0) -> InkPiece:
    box = box_of(ink)
    cropped = ink[box.top : box.bottom, box.left : box.left + box.width].copy()
    return InkPiece(box._replace(left=left + box.left, top=top + box.top), cropped, cut_cost)


def _gap(first: Box, second: Box) -> int:
    """The larger of the horizontal and vertical gaps in pixels; negative if the boxes overlap."""
    across = max(first.left - second.left - second.width, second.left - first.left - first.width)
    return max(across, first.top - second.bottom, second.top - first.bottom)


def _overlap(start: int, length: int, other_start: int, other_length: int) -> float:
    """The overlap of two intervals, as a share of the shorter one."""
    shared = min(start + length, other_start + other_length) - max(start, other_start)
    return shared / min(length, other_length)


def _overlap_across(first: Box, second: Box) -> float:
    return _overlap(first.left, first.width, second.left, second.width)


def _attach_bars(pieces: Sequence[InkPiece]) -> list[InkPiece]:
    """Join a flat piece, such as the bar of a broken 5, to the piece that it is above or below."""
    joined: list[InkPiece] = []
    for piece in sorted(pieces, key=lambda piece: -piece.box.height):
        for index, other in enumerate(joined):
            is_flat = piece.box.height < _MAX_BAR_HEIGHT * other.box.height
            is_near = _gap(piece.box, other.box) < _MAX_BAR_GAP * other.box.height
            if is_flat and is_near and _overlap_across(piece.box, other.box) > _MIN_DIGIT_OVERLAP:
                joined[index] = _join([other, piece])
                break
        else:
            joined.append(piece)
    return joined


def _group_lines(pieces: Sequence[InkPiece]) -> list[list[InkPiece]]:
    """Pieces by line: lines from top to bottom, the pieces of each from left to right."""
    lines: list[list[InkPiece]] = []
    for piece in sorted(pieces, key=lambda piece: piece.box.left):
        box = piece.box
        best_line, best_overlap = None, _MIN_LINE_OVERLAP
        for line in lines:
            last = line[-1].box
            overlap = _overlap(box.top, box.height, last.top, last.height)
            max_gap = _MAX_LINE_GAP * max(box.width, box.height, last.width, last.height)
            if overlap >= best_overlap and box.left - last.left - last.width < max_gap:
                best_line, best_overlap = line, overlap
        if best_line is None:
            lines.append([piece])
        elif _overlap_across(box, best_line[-1].box) > _MIN_DIGIT_OVERLAP:
            best_line[-1] = _join([best_line[-1], piece])
        else:
            best_line.append(piece)
    return sorted(lines, key=lambda line: float(np.mean([piece.box.top for piece in line])))


def _join(pieces: Sequence[InkPiece]) -> InkPiece:
    box = pieces[0].box
    for piece in pieces[1:]:
        box = box.union(piece.box)
    ink = np.zeros((box.height, box.width), dtype=np.float32)
    for piece in pieces:
        top, left = piece.box.top - box.top, piece.box.left - box.left
        area = ink[top : top + piece.box.height, left : left + piece.box.width]
        np.maximum(area, piece.ink, out=area)
    return InkPiece(box, ink, pieces[0].cut_cost)


def _cut(piece: InkPiece, line_height: float, max_cuts: int) -> list[InkPiece]:
    """Cut a piece wherever two digits may touch; the parts from left to right."""
    height, width = piece.ink.shape
    if width < _MIN_CUT_WIDTH * line_height:
        return [piece]
    strongest = piece.ink.max()
    costs, paths = _seams(piece.ink / _stroke_width(piece.ink))
    parts: list[InkPiece] = []
    is_done = np.zeros((height, width), dtype=bool)
    cut_cost = piece.cut_cost
    max_cuts = min(max_cuts, _MAX_WORK // piece.ink.size)
    for column in [*_cut_columns(costs, line_height, max_cuts), None]:
        is_left = (
            np.ones_like(is_done)
            if column is None
            else np.arange(width) < paths[:, column][:, None]  # left of the cut
        )
        ink = np.where(is_left & ~is_done, piece.ink, 0)
        if ink.max() > 0.5 * strongest:
            parts.append(_piece(ink, left=piece.box.left, top=piece.box.top, cut_cost=cut_cost))
            is_done |= is_left
            cut_cost = float(costs[column]) if column is not None else 0.0
    return parts


def _stroke_width(ink: Grey) -> float:
    """The mean width of strokes in pixels, 1 or more."""
    import cv2

    is_stroke = np.pad(ink > 0.5 * ink.max(), 1).astype(np.uint8)
    distances = cv2.distanceTransform(is_stroke, cv2.DIST_L2, 5)[is_stroke > 0]
    # The mean distance to the edge of a line is a quarter of its width.
    return max(1.0, 4 * float(distances.mean())) if distances.size else 1.0


def _cut_columns(costs: Scores, line_height: float, max_cuts: int) -> list[int]:
    """The columns of the cheapest cuts that are far enough apart, from left to right."""
    distance = max(2, round(_MIN_CUT_DISTANCE * line_height))
    columns: list[int] = []
    for column in np.argsort(costs, kind="stable").tolist():
        is_inside = distance <= column < len(costs) - distance and costs[column] < _MAX_CUT_COST
        if is_inside and all(abs(column - other) >= distance for other in columns):
            columns.append(column)
        if len(columns) == max_cuts:
            break
    return sorted(columns)


def _seams(ink: Grey) -> tuple[Scores, Indices]:
    """The cheapest cut from top to bottom through each column of the middle row.

    Returns:
        The cost of each cut, (W,), and its column in each row, (H, W).
    """
    middle = len(ink) // 2
    upper, up_paths = _seams_down(ink[: middle + 1][::-1])
    lower, down_paths = _seams_down(ink[middle:])
    return upper + lower - ink[middle], np.concatenate([up_paths[:0:-1], down_paths])


def _seams_down(ink: Grey) -> tuple[Scores, Indices]:
    """The cheapest cut down from each column of the first row; returns as `_seams`."""
    height, width = ink.shape
    sideways = np.float32(_SIDE_STEP_COST * ink.max() + 1e-6)
    costs = ink[-1].astype(np.float64)
    steps = np.zeros((height, width), dtype=np.intp)
    for row in range(height - 2, -1, -1):
        around = np.stack(
            [
                np.concatenate([[np.inf], costs[:-1]]) + sideways,
                costs,
                np.concatenate([costs[1:], [np.inf]]) + sideways,
            ]
        )
        best = np.argmin(around + np.array([[1e-9], [0], [1e-9]]), axis=0)
        steps[row] = best - 1
        costs = ink[row] + np.take_along_axis(around, best[None], axis=0)[0]
    paths = np.empty((height, width), dtype=np.intp)
    paths[0] = np.arange(width)
    for row in range(1, height):
        paths[row] = paths[row - 1] + steps[row - 1][paths[row - 1]]
    return costs, paths


def _best_digits(
    pieces: Sequence[InkPiece],
    height: float,
    score: Callable[[Images], Scores],
    max_work: float,
) -> list[tuple[Box, Images]]:
    """Join the pieces of a line to digits, such that the total log-likelihood is highest."""
    spans: dict[tuple[int, int], tuple[Box, Images]] = {}
    starts, count, work = list(range(len(pieces))), 0, 0
    while starts and work < max_work:  # digits of one piece, then digits of two pieces, ...
        count += 1
        starts_of_longer = []
        for start in starts:
            joined = _join(pieces[start : start + count])
            if count > 1 and joined.box.width > _MAX_WIDTH * height:
                continue
            spans[start, start + count] = (joined.box, center.fit(joined.ink))
            work += joined.ink.size + _SPAN_WORK
            if start + count < len(pieces):
                starts_of_longer.append(start)
        starts = starts_of_longer
    likelihoods = score(np.stack([image for _, image in spans.values()]))
    scores = {
        span: float(likelihood) - _WIDTH_PENALTY * max(0.0, box.width / height - _USUAL_WIDTH)
        for (span, (box, _)), likelihood in zip(spans.items(), likelihoods, strict=True)
    }
    # best[end]: the highest total of the first `end` pieces, and the start of their last digit.
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(pieces) + 1):
        starts = [start for start in range(max(0, end - count), end) if (start, end) in scores]
        totals = (
            best[start][0] + scores[start, end] - _CUT_PENALTY * pieces[start].cut_cost
            for start in starts
        )
        best.append(max(zip(totals, starts, strict=True)))
    digits: list[tuple[Box, Images]] = []
    end = len(pieces)
    while end:
        start = best[end][1]
        digits.insert(0, spans[start, end])
        end = start
    return digits
