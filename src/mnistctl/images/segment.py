"""A picture of several digits -> its digits, in reading order: lines of pieces, cut and joined.

Ink is cut wherever two digits might touch, and what is cut is joined to whatever reads best: the
division is chosen whose parts look most like digits, with the least ink cut through.

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

_INKED = 0.1  # of the strongest ink: what is fainter does not hold pieces together
_MOST = 200  # pieces, the largest: more are no digits
_SMALL = 0.4  # of the largest piece's size: a smaller one is a part of another
_SAME_LINE = 0.4  # of the lower piece's height: as much beside one another is one line
_FAR = 3.0  # times the larger piece's size: pieces farther apart are no neighbours in a line
_ONE_ABOVE = 0.5  # of the narrower piece's width: as much above one another is one digit
_FLAT, _NEAR = 0.4, 0.25  # of a part's height: what is as flat, and as near, belongs to it
_WIDEST = 1.7  # a digit's width, of the height of its line
_DEAREST = 3.0  # strokes: a cut through more is none
_CUTTABLE = 0.35  # of its line's height: a narrower piece is not cut
_BETWEEN_CUTS = 0.12  # of the line's height
_SIDEWAYS = 0.3  # of a stroke's ink: what a step sideways costs a cut
_WIDE, _TOO_WIDE = 0.9, 1.5  # of its line's height; log-likelihood for each height more
_CUT_COST = 0.2  # of log-likelihood, for each stroke that is cut through


class Box(NamedTuple):
    """A rectangle of a picture, in pixels from its upper left corner."""

    left: int
    top: int
    width: int
    height: int

    def joined(self, other: "Box") -> "Box":
        """The smallest around both."""
        left, top = min(self.left, other.left), min(self.top, other.top)
        right = max(self.left + self.width, other.left + other.width)
        return Box(left, top, right - left, max(self.bottom, other.bottom) - top)

    @property
    def bottom(self) -> int:
        """The first row below."""
        return self.top + self.height


@dataclass(frozen=True)
class Part:
    """Ink that is not divided further."""

    box: Box
    ink: Grey  # (height, width) of the box
    cut: float = 0.0  # strokes that were cut through between this and the part before


class Digit(NamedTuple):
    """Where a digit is, and what it looks like."""

    box: Box
    image: Images  # uint8 (28, 28)
    line: int  # counted from 0, from above


def box_of(ink: Grey) -> Box:
    """The smallest box around ink, float32 (H, W), some of it above 0."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return Box(int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)


def split(ink: Grey, score: Callable[[Images], Scores]) -> list[Digit]:
    """The digits of a picture: line by line, from left to right.

    Args:
        ink: float32 (H, W), 0 = paper, some of it above.
        score: the log-likelihood that each of N images, uint8 (N, 28, 28), is one whole digit.
    """
    digits = []
    for number, parts in enumerate(_lines(_with_bars(_pieces(ink)))):
        height = float(np.median([part.box.height for part in parts]))
        divided = [small for part in parts for small in _cut(part, height)]
        digits += [Digit(box, image, number) for box, image in _best(divided, height, score)]
    return digits


def _pieces(ink: Grey) -> list[Part]:
    """What hangs together, small pieces with the large ones that they are nearest to."""
    import cv2

    drawn = (ink > _INKED * ink.max()).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(drawn)
    starts, ends = stats[1:, :2], stats[1:, :2] + stats[1:, 2:4]  # x and y
    sizes = (ends - starts).max(axis=1)
    large = np.flatnonzero(sizes > _SMALL * sizes.max())
    large = large[np.argsort(-sizes[large], kind="stable")[:_MOST]]
    between = np.maximum(starts[:, None] - ends[None, large], starts[None, large] - ends[:, None])
    owner = np.concatenate([[0], large[between.max(axis=2).argmin(axis=1)] + 1])
    owner[large + 1] = large + 1
    # A pixel too faint to hang together belongs to whatever is around it.
    whose = owner[labels]
    _, nearest_label = cv2.distanceTransformWithLabels(
        (whose == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owners = np.zeros(int(nearest_label.max()) + 1, dtype=np.intp)
    owners[nearest_label[whose > 0]] = whose[whose > 0]
    whose = owners[nearest_label]
    return [_part(np.where(whose == place + 1, ink, 0)) for place in large]


def _part(ink: Grey, *, left: int = 0, top: int = 0, cut: float = 0.0) -> Part:
    box = box_of(ink)
    cropped = ink[box.top : box.bottom, box.left : box.left + box.width]
    return Part(box._replace(left=left + box.left, top=top + box.top), cropped, cut)


def _gap(one: Box, other: Box) -> int:
    """Pixels between two boxes, the larger of across and down; below 0 where they overlap."""
    across = max(one.left - other.left - other.width, other.left - one.left - one.width)
    return max(across, one.top - other.bottom, other.top - one.bottom)


def _overlap(start: int, length: int, other: int, others_length: int) -> float:
    """How much of the shorter of two stretches lies in the other."""
    shared = min(start + length, other + others_length) - max(start, other)
    return shared / min(length, others_length)


def _with_bars(parts: Sequence[Part]) -> list[Part]:
    """Parts with what lies flat above or below them and is no digit: the bar of a broken 5."""
    joined: list[Part] = []
    for part in sorted(parts, key=lambda part: -part.box.height):
        for place, other in enumerate(joined):
            flat = part.box.height < _FLAT * other.box.height
            near = _gap(part.box, other.box) < _NEAR * other.box.height
            if flat and near and _overlap(*_across(part), *_across(other)) > _ONE_ABOVE:
                joined[place] = _joined([other, part])
                break
        else:
            joined.append(part)
    return joined


def _across(part: Part) -> tuple[int, int]:
    return part.box.left, part.box.width


def _lines(parts: Sequence[Part]) -> list[list[Part]]:
    """Parts by line, from above, and from the left in each: neighbours of about the same height."""
    left = sorted(parts, key=lambda part: part.box.left)
    lines: list[list[Part]] = []
    for part in left:
        box = part.box
        nearest, share = None, _SAME_LINE
        for line in lines:
            last = line[-1].box
            beside = _overlap(box.top, box.height, last.top, last.height)
            far = _FAR * max(box.width, box.height, last.width, last.height)
            if beside >= share and box.left - last.left - last.width < far:
                nearest, share = line, beside
        if nearest is None:
            lines.append([part])
        elif _overlap(*_across(part), *_across(nearest[-1])) > _ONE_ABOVE:
            nearest[-1] = _joined([nearest[-1], part])
        else:
            nearest.append(part)
    return sorted(lines, key=lambda line: float(np.mean([part.box.top for part in line])))


def _joined(parts: Sequence[Part]) -> Part:
    box = parts[0].box
    for part in parts[1:]:
        box = box.joined(part.box)
    ink = np.zeros((box.height, box.width), dtype=np.float32)
    for part in parts:
        top, left = part.box.top - box.top, part.box.left - box.left
        under = ink[top : top + part.box.height, left : left + part.box.width]
        np.maximum(under, part.ink, out=under)
    return Part(box, ink, parts[0].cut)


def _cut(part: Part, line_height: float) -> list[Part]:
    """A part divided wherever two digits may touch, from left to right."""
    import cv2

    height, width = part.ink.shape
    if width < _CUTTABLE * line_height:
        return [part]
    drawn = np.pad(part.ink > 0.5 * part.ink.max(), 1).astype(np.uint8)
    inside = cv2.distanceTransform(drawn, cv2.DIST_L2, 5)[drawn > 0]
    stroke = max(1.0, 4 * float(inside.mean())) if inside.size else 1.0
    costs, paths = _seams(part.ink / stroke)
    least = max(2, round(_BETWEEN_CUTS * line_height))
    places: list[int] = []
    for column in np.argsort(costs, kind="stable"):
        inner = least <= column < width - least and costs[column] < _DEAREST
        if inner and all(abs(int(column) - place) >= least for place in places):
            places.append(int(column))
    divided, before = [], np.zeros((height, width), dtype=bool)
    cut = part.cut
    for place in [*sorted(places), None]:
        upto = np.ones_like(before) if place is None else np.arange(width) < paths[:, place][:, None]
        ink = np.where(upto & ~before, part.ink, 0)
        if ink.max() > 0.5 * part.ink.max():
            divided.append(_part(ink, left=part.box.left, top=part.box.top, cut=cut))
            before |= upto
            cut = float(costs[place]) if place is not None else 0.0
    return divided


def _seams(ink: Grey) -> tuple[Scores, npt.NDArray[np.intp]]:
    """The cheapest way from top to bottom through each column of the middle row.

    Returns:
        What each goes through, (W,), and its column in every row, (H, W).
    """
    middle = len(ink) // 2
    upper, up_paths = _seams_down(ink[: middle + 1][::-1])
    lower, down_paths = _seams_down(ink[middle:])
    return upper + lower - ink[middle], np.concatenate([up_paths[:0:-1], down_paths])


def _seams_down(ink: Grey) -> tuple[Scores, npt.NDArray[np.intp]]:
    """The cheapest way down from each column of the first row: what it costs, and its columns."""
    height, width = ink.shape
    sideways = np.float32(_SIDEWAYS * ink.max() + 1e-6)
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


def _best(
    parts: Sequence[Part], height: float, score: Callable[[Images], Scores]
) -> list[tuple[Box, Images]]:
    """Join the parts of a line to the digits that are likeliest, all together."""
    spans: dict[tuple[int, int], tuple[Box, Images]] = {}
    for start in range(len(parts)):
        for end in range(start + 1, len(parts) + 1):
            whole = _joined(parts[start:end])
            if end > start + 1 and whole.box.width > _WIDEST * height:
                break
            spans[start, end] = (whole.box, center.fit(whole.ink))
    likelihoods = score(np.stack([image for _, image in spans.values()]))
    scores = {
        span: float(likelihood) - _TOO_WIDE * max(0.0, box.width / height - _WIDE)
        for (span, (box, _)), likelihood in zip(spans.items(), likelihoods, strict=True)
    }
    best: list[tuple[float, int]] = [
        (0.0, 0)
    ]  # up to each part: likelihood, and the last digit's start
    for end in range(1, len(parts) + 1):
        best.append(
            max(
                (
                    best[start][0] + scores[start, end] - _CUT_COST * parts[start].cut,
                    start,
                )
                for start in range(end)
                if (start, end) in scores
            )
        )
    digits: list[tuple[Box, Images]] = []
    end = len(parts)
    while end:
        start = best[end][1]
        digits.insert(0, spans[start, end])
        end = start
    return digits
