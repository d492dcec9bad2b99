"""What is printed on the paper before anybody writes on it: rules, cells, patterns, small print."""

import cv2
import numpy as np

from mnistctl.pages.camera import Ink, Pixels

FONTS = (0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 22, 23)  # OpenCV's, some in italics
LETTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRTUVWXYZ&@#%§€£¢*?!=äöüß"


def print_paper(shape: tuple[int, ...], generator: np.random.Generator) -> Ink:
    """What is on the paper before anybody writes on it: float32, 0 = white, 1 = black."""
    rows, columns = shape
    paper = np.zeros((rows, columns), dtype=np.float32)
    if generator.random() < 0.35:
        _rule(paper, generator)
    if generator.random() < 0.25:
        _print_pattern(paper, generator)
    if generator.random() < 0.1:
        _print_text(paper, generator)
    return paper


def _rule(paper: Ink, generator: np.random.Generator) -> None:
    """Lines of ruled or squared paper, or the borders of a cell."""
    rows, columns = paper.shape
    strength = float(generator.uniform(0.1, 0.85))
    thickness = int(generator.choice([1, 1, 1, 2, 3]))
    tilt = generator.normal(0, 0.015)
    canvas = np.zeros(paper.shape, dtype=np.uint8)
    kind = generator.random()
    if kind < 0.45:
        for y in (generator.uniform(-0.05, 0.2) * rows, generator.uniform(0.8, 1.05) * rows):
            if generator.random() < 0.8:
                _line(canvas, (0, y), (columns, y + tilt * columns), thickness)
        for x in (generator.uniform(-0.02, 0.1) * columns, generator.uniform(0.9, 1.02) * columns):
            if generator.random() < 0.6:
                _line(canvas, (x, 0), (x - tilt * rows, rows), thickness)
    else:
        pitch = float(generator.uniform(9, 48))
        for y in np.arange(generator.uniform(0, pitch), rows, pitch):
            _line(canvas, (0, y), (columns, y + tilt * columns), thickness)
        if kind > 0.75:
            for x in np.arange(generator.uniform(0, pitch), columns, pitch):
                _line(canvas, (x, 0), (x - tilt * rows, rows), thickness)
    np.maximum(paper, canvas.astype(np.float32) * (strength / 255), out=paper)


def _line(canvas: Pixels, start: tuple[float, float], end: tuple[float, float], thickness: int) -> None:
    points = [(round(x * 16), round(y * 16)) for x, y in (start, end)]
    cv2.line(canvas, points[0], points[1], 255, thickness, cv2.LINE_AA, 4)


def _print_pattern(paper: Ink, generator: np.random.Generator) -> None:
    """A security pattern as on cheques: waves, rosettes, dots or a picture of no meaning."""
    rows, columns = paper.shape
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    kind = generator.random()
    period = generator.uniform(3, 14)
    if kind < 0.4:
        wave = generator.uniform(1, 8) * np.sin(x / generator.uniform(4, 25) + generator.uniform(0, 6))
        values = np.sin((y + wave + generator.normal(0, 0.3) * x) * (2 * np.pi / period))
    elif kind < 0.6:
        centre = generator.uniform(0, 1, 2) * (columns, rows)
        radius = np.hypot(x - centre[0], y - centre[1])
        angle = np.arctan2(y - centre[1], x - centre[0])
        values = np.sin(radius * 2 * np.pi / period + 3 * np.sin(generator.integers(3, 12) * angle))
    elif kind < 0.75:
        values = np.sin(x * 2 * np.pi / period) * np.sin(y * 2 * np.pi / period)
    else:
        coarse = generator.normal(0, 1, (max(2, int(rows / period)), max(2, int(columns / period))))
        values = cv2.resize(coarse.astype(np.float32), (columns, rows), interpolation=cv2.INTER_CUBIC)
    strength = generator.uniform(0.05, 0.4)
    if generator.random() < 0.5:
        values = (values > generator.uniform(0.2, 0.9)).astype(np.float32)
    np.maximum(paper, (np.clip(values, 0, 1) * strength).astype(np.float32), out=paper)


def _print_text(paper: Ink, generator: np.random.Generator) -> None:
    """Small printed words, which are not to be read."""
    rows, columns = paper.shape
    canvas = np.zeros(paper.shape, dtype=np.uint8)
    for _ in range(int(generator.integers(1, 4))):
        text = "".join(generator.choice(list(LETTERS[:46]), int(generator.integers(2, 9))))
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
