"""Draw digits and marks from templates, with the irregularity of a hand."""

import numpy as np
import numpy.typing as npt

from mnistctl.pages import templates
from mnistctl.pages.templates import Strokes

Points = npt.NDArray[np.float64]  # (N, 2): x and y

_STEPS = 8  # points of the curve between two points of the template


def draw(digit: int, generator: np.random.Generator) -> tuple[list[Points], float]:
    """A digit written in one of its ways, with the irregularity of a hand.

    Args:
        digit: 0 to 9.
        generator: of the random choices.

    Returns:
        Its strokes as polylines in a box of width and height 1, and the width of that box as a share of
        its height.
    """
    variants = templates.DIGITS[digit]
    weights = np.array([weight for weight, _, _ in variants])
    _, aspect, strokes = variants[generator.choice(len(variants), p=weights / weights.sum())]
    return _unsteady(aspect, strokes, generator)


def draw_mark(mark: str, generator: np.random.Generator) -> tuple[list[Points], float]:
    """A mark, as `draw` draws a digit."""
    return _unsteady(*templates.MARKS[mark], generator)


def _unsteady(
    aspect: float, strokes: Strokes, generator: np.random.Generator
) -> tuple[list[Points], float]:
    """Strokes with the irregularity of a hand."""
    jitter = generator.uniform(0.01, 0.05) / np.array([max(aspect, 0.3), 1.0])
    bend = generator.normal(0, 0.05, 2)
    lines = []
    for stroke in strokes:
        points = np.array(stroke, dtype=np.float64)
        is_corner = np.zeros(len(points), dtype=bool)
        is_corner[1:] = (points[1:] == points[:-1]).all(axis=1)
        points = points + generator.normal(0, 1, points.shape) * jitter
        points[1:][is_corner[1:]] = points[:-1][is_corner[1:]]
        curve = smooth(points)
        height = curve[:, 1] - 0.5
        curve[:, 0] += bend[0] * (height**2 - 0.25) / max(aspect, 0.3)
        curve[:, 1] += bend[1] * (curve[:, 0] - 0.5) * aspect
        lines.append(curve)
    return lines, float(aspect * np.exp(generator.normal(0, 0.15)))


def smooth(points: Points) -> Points:
    """A smooth curve through points, with a corner where a point is listed twice.

    Source: Catmull and Rom 1974, "A Class of Local Interpolating Splines".
    """
    if len(points) < 3:
        return points
    before = np.concatenate([points[:1], points[:-2]])
    start, end = points[:-1], points[1:]
    after = np.concatenate([points[2:], points[-1:]])
    # No tangent reaches across a corner.
    before = np.where((before == start).all(axis=1, keepdims=True), start, before)
    after = np.where((after == end).all(axis=1, keepdims=True), end, after)
    position = (np.arange(_STEPS) / _STEPS)[None, :, None]
    first, second = (end - before)[:, None] / 2, (after - start)[:, None] / 2
    start, end = start[:, None], end[:, None]
    curve = (
        start
        + first * position
        + (3 * (end - start) - 2 * first - second) * position**2
        + (2 * (start - end) + first + second) * position**3
    )
    return np.concatenate([curve.reshape(-1, 2), points[-1:]])
