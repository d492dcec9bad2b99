"""Write MNIST's images again as strokes of a pen."""

import cv2
import numpy as np

from mnistctl.pages import glyphs
from mnistctl.types import Images

Place = tuple[int, int]  # row and column in a thinned image
Point = tuple[float, float, float]  # x and y from 0 to 1, and the pen's width as a share of the pad

_MARGIN = 0.15  # around the digit, as a share of the pad
_MIN_STROKE = 3  # pixels of a thinned image: shorter branches are the work of the thinning
_PEN_WIDTHS = (0.0375, 0.1875)  # of the page's pen, from no pressure to the highest
_SIDES = [(0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)]


def strokes_of(image: Images) -> list[list[Point]]:
    """The strokes of an image, uint8 (28, 28): its ink thinned to lines, and their width."""
    is_ink = cv2.resize(image, (glyphs.SIDE, glyphs.SIDE), interpolation=cv2.INTER_CUBIC) > 96
    distances = cv2.distanceTransform(is_ink.astype(np.uint8), cv2.DIST_L2, 5)
    thinned = np.argwhere(glyphs.thin(is_ink[None])[0])
    corner, size = thinned.min(axis=0), np.ptp(thinned, axis=0)
    scale = (1 - 2 * _MARGIN) / max(*size, 1)
    top, left = (1 - size * scale) / 2
    return [
        [
            (
                float((column - corner[1]) * scale + left),
                float((row - corner[0]) * scale + top),
                float(np.clip(2 * distances[row, column] * scale, *_PEN_WIDTHS)),
            )
            for row, column in line
        ]
        for line in _trace({(int(row), int(column)) for row, column in thinned})
    ]


def draw(strokes: list[list[Point]], side: int) -> Images:
    """The strokes as the page draws them: uint8 (side, side), 255 = paper."""
    drawing = np.full((side, side), 255, dtype=np.uint8)
    for stroke in strokes:
        for (x0, y0, _), (x1, y1, width) in zip([stroke[0], *stroke], stroke, strict=False):
            ends = [(round(x * side * 16), round(y * side * 16)) for x, y in ((x0, y0), (x1, y1))]
            cv2.line(drawing, *ends, 0, max(1, round(width * side)), cv2.LINE_AA, 4)
    return drawing


def _trace(left: set[Place]) -> list[list[Place]]:
    """Lines through all pixels of a thinned image."""
    strokes: list[list[Place]] = []
    while left:
        start = min(left, key=lambda place: (len(_neighbours(place, left)), place))  # an end, if any
        line = [start]
        left.remove(start)
        while following := _neighbours(line[-1], left):
            line.append(_straightest(line, following))
            left.remove(line[-1])
        line = _joined(line, strokes)
        if len(line) >= _MIN_STROKE or not strokes:
            strokes.append(line)
    return strokes


def _neighbours(place: Place, left: set[Place]) -> list[Place]:
    return [
        (place[0] + down, place[1] + right)
        for down, right in _SIDES
        if (place[0] + down, place[1] + right) in left
    ]


def _straightest(line: list[Place], following: list[Place]) -> Place:
    """The pixel with which the line turns least."""
    before = np.subtract(line[-1], line[max(0, len(line) - 5)])
    return max(following, key=lambda place: float(np.subtract(place, line[-1]) @ before))


def _joined(line: list[Place], strokes: list[list[Place]]) -> list[Place]:
    """The line with the pixels that its ends touch: of other strokes, or of its own start in a ring."""
    others = {place for stroke in strokes for place in stroke}
    is_ring = len(line) > 5 and line[0] in _neighbours(line[-1], set(line))
    before = _neighbours(line[0], others)[:1]
    after = [line[0]] if is_ring else _neighbours(line[-1], others)[:1]
    return [*before, *line, *after]
