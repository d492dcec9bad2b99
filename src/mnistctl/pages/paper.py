"""What is printed on the paper before anybody writes on it: rules, cells, patterns, small print."""

import cv2
import numpy as np

from mnistctl.pages.camera import Ink, Pixels

FONTS = (0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 22, 23)  # OpenCV's, some in italics
_LETTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRTUVWXYZ"


def print_paper(shape: tuple[int, ...], generator: np.random.Generator) -> Ink:
    """What is on the paper before anybody writes on it: float32, 0 = white, 1 = black."""
    rows, columns = shape
    paper = np.zeros((rows, columns), dtype=np.float32)
    if generator.random() < 0.1:
        _shade_part(paper, generator)
    kind = generator.random()
    if kind < 0.2:
        _rule(paper, generator)
    elif kind < 0.45:
        _draw_cell(paper, generator)
    if generator.random() < 0.3:
        _print_pattern(paper, generator)
    if generator.random() < 0.1:
        _print_text(paper, generator)
    return paper


def _shade_part(paper: Ink, generator: np.random.Generator) -> None:
    """Make one side of the page darker than the other."""
    edge = generator.uniform(0.05, 0.95)
    side = paper if generator.random() < 0.6 else paper.T  # the view shares the page's memory
    split = int(edge * len(side))
    part = side[:split] if generator.random() < 0.5 else side[split:]
    part += generator.uniform(0.05, 0.3)


def _rule(paper: Ink, generator: np.random.Generator) -> None:
    """Lines of ruled or squared paper."""
    rows, columns = paper.shape
    thickness = int(generator.choice([1, 1, 1, 2]))
    tilt = generator.normal(0, 0.015)
    canvas = np.zeros(paper.shape, dtype=np.uint8)
    pitch = float(generator.uniform(9, 48))
    for y in np.arange(generator.uniform(0, pitch), rows, pitch):
        _line(canvas, (0, y), (columns, y + tilt * columns), thickness)
    if generator.random() < 0.45:
        for x in np.arange(generator.uniform(0, pitch), columns, pitch):
            _line(canvas, (x, 0), (x - tilt * rows, rows), thickness)
    strength = float(generator.uniform(0.1, 0.8))
    np.maximum(paper, canvas.astype(np.float32) * (strength / 255), out=paper)


def _draw_cell(paper: Ink, generator: np.random.Generator) -> None:
    """The borders of a cell near the edges of the picture: whole, in part, doubled or missing."""
    rows, columns = paper.shape
    reach = generator.uniform(0.02, 0.15) * min(rows, columns)
    strength = float(generator.uniform(0.15, 1))
    tilt = generator.normal(0, 0.02)
    thickest = int(generator.choice([2, 3, 8]))
    for side in generator.permutation(4)[: generator.integers(1, 5)]:
        length, breadth = (columns, rows) if side < 2 else (rows, columns)
        near = generator.uniform(-0.2, 1) * reach
        position = near if side % 2 else breadth - 1 - near
        start, end = np.sort(generator.uniform(-0.5, 1.5, 2)) if generator.random() < 0.3 else (0, 1)
        for _ in range(1 if generator.random() < 0.8 else 2):
            ends = [
                (share * length, position + tilt * (share - 0.5) * length) for share in (start, end)
            ]
            if side >= 2:
                ends = [(across, along) for along, across in ends]
            canvas = np.zeros(paper.shape, dtype=np.uint8)
            _line(canvas, ends[0], ends[1], int(generator.integers(1, thickest)))
            darkness = strength * generator.uniform(0.5, 1) / 255
            np.maximum(paper, canvas.astype(np.float32) * np.float32(darkness), out=paper)
            position += (1 if side % 2 else -1) * generator.uniform(2, 8)


def _line(canvas: Pixels, start: tuple[float, float], end: tuple[float, float], thickness: int) -> None:
    points = [(round(x * 16), round(y * 16)) for x, y in (start, end)]
    cv2.line(canvas, points[0], points[1], 255, thickness, cv2.LINE_AA, 4)


def _print_pattern(paper: Ink, generator: np.random.Generator) -> None:
    """A security pattern as on cheques: fine waves, rosettes, dots or blots."""
    rows, columns = paper.shape
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    kind = generator.random()
    period = float(generator.uniform(3, 12))
    if kind < 0.6:
        values = _waves(x, y, period, generator)
        if generator.random() < 0.35:
            values = np.maximum(values, _waves(y, x, period * generator.uniform(1, 3), generator))
    elif kind < 0.7:
        centre = generator.uniform(0, 1, 2) * (columns, rows)
        radius = np.hypot(x - centre[0], y - centre[1])
        angle = np.arctan2(y - centre[1], x - centre[0])
        values = np.sin(radius * 2 * np.pi / period + 3 * np.sin(generator.integers(3, 12) * angle))
    elif kind < 0.85:
        values = np.sin(x * 2 * np.pi / period) * np.sin(y * 2 * np.pi / period)
    else:
        coarse = generator.normal(0, 1, (max(2, int(rows / period)), max(2, int(columns / period))))
        values = cv2.resize(coarse.astype(np.float32), (columns, rows), interpolation=cv2.INTER_CUBIC)
    strength = generator.uniform(0.05, 0.4)
    if kind >= 0.6 and generator.random() < 0.3:
        values = (values > generator.uniform(0.2, 0.9)).astype(np.float32)
    np.maximum(paper, (np.clip(values, 0, 1) * strength).astype(np.float32), out=paper)


def _waves(along: Ink, across: Ink, period: float, generator: np.random.Generator) -> Ink:
    """Parallel lines with waves; they are finer than the gaps between them."""
    wave = generator.uniform(0, 5) * np.sin(along / generator.uniform(4, 40) + generator.uniform(0, 6))
    phase = (across + wave + generator.normal(0, 0.3) * along) * (np.pi / period)
    values: Ink = np.abs(np.sin(phase)) ** np.float32(generator.choice([2, 4, 10]))
    return values


def _print_text(paper: Ink, generator: np.random.Generator) -> None:
    """Small printed words, which are not to be read."""
    rows, columns = paper.shape
    canvas = np.zeros(paper.shape, dtype=np.uint8)
    for _ in range(int(generator.integers(1, 4))):
        text = "".join(generator.choice(list(_LETTERS), int(generator.integers(2, 9))))
        origin = (int(generator.uniform(-10, columns)), int(generator.uniform(5, rows)))
        cv2.putText(
            canvas,
            text,
            origin,
            int(generator.choice(FONTS)),
            float(generator.uniform(0.2, 0.7)),
            255,
            int(generator.integers(1, 3)),
            cv2.LINE_AA,
        )
    np.maximum(paper, canvas.astype(np.float32) * (generator.uniform(0.2, 0.9) / 255), out=paper)
