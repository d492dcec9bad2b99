"""What people draw and photograph that is no digit: doodles, things, textures."""

import math

import cv2
import numpy as np

from mnistctl.pages import glyphs, strokes
from mnistctl.pages.camera import Ink
from mnistctl.pages.glyphs import Fields
from mnistctl.pages.strokes import Points

_CURVE_POINTS = 160


def doodle(generator: np.random.Generator) -> Fields:
    """A field of lines that are no digit."""
    kind = generator.random()
    if kind < 0.3:
        lines = [_polyline(generator) for _ in range(int(generator.integers(1, 4)))]
    elif kind < 0.6:
        lines = [_loops(generator)]
    elif kind < 0.75:
        lines = [_zigzag(generator)]
    else:
        lines = [_walk(generator) for _ in range(int(generator.integers(1, 3)))]
    return glyphs.draw_lines(lines, float(np.exp(generator.uniform(math.log(0.5), math.log(3)))))


def _polyline(generator: np.random.Generator) -> Points:
    points = generator.uniform(0, 1, (int(generator.integers(5, 12)), 2))
    return strokes.smooth(points) if generator.random() < 0.6 else points


def _loops(generator: np.random.Generator) -> Points:
    """A closed or drifting curve of a few waves that crosses itself."""
    time = np.linspace(0, 2 * math.pi, _CURVE_POINTS)
    waves = np.arange(1, int(generator.integers(4, 9)))
    amounts = generator.normal(0, 1, (2, 2, len(waves)))
    phases = time[:, None] * waves
    curve = np.sin(phases) @ amounts[0].T + np.cos(phases) @ amounts[1].T
    curve += np.outer(time, generator.normal(0, 0.6, 2)) * (generator.random() < 0.5)
    return _into_box(curve)


def _zigzag(generator: np.random.Generator) -> Points:
    """Strokes up and down, as one hatches or underlines."""
    corners = int(generator.integers(5, 16))
    points = np.empty((corners, 2))
    points[:, 0] = np.linspace(0, 1, corners) + generator.normal(0, 0.03, corners)
    points[:, 1] = (np.arange(corners) % 2) * generator.uniform(0.2, 1)
    points[:, 1] += generator.normal(0, 0.08, corners)
    if generator.random() < 0.3:
        points = np.repeat(points, 2, axis=0)[:, ::-1]
    return strokes.smooth(points) if generator.random() < 0.4 else points


def _walk(generator: np.random.Generator) -> Points:
    """A line that turns at random, or winds itself up."""
    turns = generator.normal(generator.choice([0.0, 0.25]), generator.uniform(0.2, 0.6), 80)
    angles = np.cumsum(turns)
    steps = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    lengths = np.linspace(1, generator.uniform(0.2, 3), len(steps))
    return _into_box(np.cumsum(steps * lengths[:, None], axis=0))


def _into_box(curve: Points) -> Points:
    """The curve in a box of width and height 1."""
    low, span = curve.min(axis=0), np.ptp(curve, axis=0)
    scaled: Points = (curve - low) / np.maximum(span, 1e-6)
    return scaled


def things(rows: int, columns: int, generator: np.random.Generator) -> Ink:
    """Shades of things in a photograph: discs, boxes and bars."""
    picture = np.full((rows, columns), int(generator.integers(0, 200)), dtype=np.uint8)
    for _ in range(int(generator.integers(2, 14))):
        shade = int(generator.integers(0, 256))
        ends = generator.uniform(-0.2, 1.2, (2, 2)) * (columns, rows)
        start, end = [(int(x), int(y)) for x, y in ends]
        width = int(generator.choice([-1, 1, 2, 4, 8]))
        kind = generator.integers(0, 3)
        if kind == 0:
            radii = (abs(end[0] - start[0]) // 3 + 1, abs(end[1] - start[1]) // 2 + 1)
            angle = float(generator.uniform(0, 180))
            cv2.ellipse(picture, start, radii, angle, 0, 360, shade, width, cv2.LINE_AA)
        elif kind == 1:
            cv2.rectangle(picture, start, end, shade, width)
        else:
            cv2.line(picture, start, end, shade, abs(width), cv2.LINE_AA)
    return picture.astype(np.float32) / np.float32(255)


def texture(rows: int, columns: int, generator: np.random.Generator) -> Ink:
    """Cloth, gravel, clouds or specks, as photographs without writing show them."""
    field = np.zeros((rows, columns), dtype=np.float32)
    for _ in range(int(generator.integers(1, 4))):
        grain = np.exp(generator.uniform(0, math.log(24), 2))  # pixels
        coarse_rows, coarse_columns = max(2, int(rows / grain[0])), max(2, int(columns / grain[1]))
        coarse = generator.normal(0, 1, (coarse_rows, coarse_columns)).astype(np.float32)
        method = cv2.INTER_CUBIC if generator.random() < 0.7 else cv2.INTER_NEAREST
        field += generator.uniform(0.2, 1) * cv2.resize(coarse, (columns, rows), interpolation=method)
    if generator.random() < 0.5:
        y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
        angle, period = generator.uniform(0, math.pi), generator.uniform(3, 40)
        along = (x * math.cos(angle) + y * math.sin(angle)) * (2 * math.pi / period)
        field += generator.uniform(0.3, 2) * np.sin(along + generator.uniform(0, 2) * field)
    level, contrast = generator.normal(0, 1), math.exp(generator.uniform(-1.5, 2))
    shades: Ink = np.clip(0.5 + contrast * (field + level), 0, 1).astype(np.float32)
    return shades
