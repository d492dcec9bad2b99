"""Digits drawn from templates: the ways of writing them that are taught in different countries.

A template is a list of strokes, a stroke a list of points (x, y) that a smooth curve passes through, in
a box of width and height 1 with y downwards. A point that is listed twice is a corner.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]  # (N, 2): x and y

_STEPS = 8  # points of the curve between two points of the template

# Digit -> (weight, width / height, strokes) per way of writing it.
_Variant = tuple[float, float, Sequence[Sequence[tuple[float, float]]]]
_CIRCLE = [
    (0.55, 0),
    (0.15, 0.15),
    (0, 0.5),
    (0.15, 0.88),
    (0.5, 1),
    (0.85, 0.85),
    (1, 0.5),
    (0.85, 0.14),
]
TEMPLATES: dict[int, Sequence[_Variant]] = {
    0: [
        (3, 0.7, [[*_CIRCLE, (0.5, 0)]]),
        (1, 0.55, [[*_CIRCLE, (0.45, 0.02)]]),
        (1, 0.7, [[(0.7, 0.08), *_CIRCLE[1:], (0.6, -0.02), (0.4, 0.02)]]),
        (0.5, 0.7, [[(0.35, 0.1), *_CIRCLE[1:], (0.7, 0.06)]]),
        (0.3, 0.7, [[*_CIRCLE, (0.5, 0)], [(0.9, 0.05), (0.1, 0.95)]]),
    ],
    1: [
        (3, 0.1, [[(0.5, 0), (0.5, 1)]]),
        (2, 0.3, [[(0, 0.2), (0.8, 0), (0.8, 0), (0.8, 1)]]),
        (2, 0.45, [[(0, 0.4), (0.9, 0), (0.9, 0), (0.9, 1)]]),
        (1.5, 0.55, [[(0, 0.55), (0.5, 0.3), (0.95, 0), (0.95, 0), (0.95, 1)]]),
        (1, 0.5, [[(0.1, 0.2), (0.5, 0), (0.5, 0), (0.5, 1)], [(0, 1), (1, 1)]]),
        (0.7, 0.6, [[(0, 0.4), (0.55, 0), (0.55, 0), (0.55, 1)], [(0.1, 1), (1, 1)]]),
        (0.5, 0.3, [[(0.5, 0), (0.5, 1)], [(0, 1), (1, 1)]]),
    ],
    2: [
        (3, 0.65, [[(0.05, 0.25), (0.4, 0), (0.85, 0.2), (0.75, 0.5), (0, 1), (0, 1), (1, 1)]]),
        (
            2,
            0.75,
            [
                [
                    (0.1, 0.2),
                    (0.45, 0),
                    (0.85, 0.2),
                    (0.6, 0.6),
                    (0.15, 0.95),
                    (0.03, 0.85),
                    (0.2, 0.78),
                    (0.5, 0.95),
                    (0.8, 1),
                    (1, 0.88),
                ]
            ],
        ),
        (
            1,
            0.7,
            [[(0.1, 0.1), (0.5, 0), (0.8, 0.2), (0.45, 0.65), (0.1, 0.95), (0.1, 0.95), (1, 0.95)]],
        ),
        (1, 0.65, [[(0, 0.05), (0.85, 0.02), (0.85, 0.02), (0, 1), (0, 1), (1, 0.97)]]),
        (
            1,
            0.7,
            [
                [
                    (0.2, 0.3),
                    (0.1, 0.15),
                    (0.45, 0),
                    (0.8, 0.2),
                    (0.65, 0.5),
                    (0.2, 0.9),
                    (0.2, 0.9),
                    (0.5, 0.85),
                    (0.75, 1),
                    (1, 0.9),
                ]
            ],
        ),
    ],
    3: [
        (
            3,
            0.6,
            [
                [
                    (0.05, 0.12),
                    (0.5, 0),
                    (0.85, 0.2),
                    (0.4, 0.46),
                    (0.4, 0.46),
                    (0.9, 0.68),
                    (0.6, 0.97),
                    (0, 0.9),
                ]
            ],
        ),
        (
            1.5,
            0.6,
            [[(0, 0), (0.9, 0), (0.9, 0), (0.4, 0.4), (0.4, 0.4), (0.95, 0.65), (0.6, 0.98), (0, 0.9)]],
        ),
        (
            1,
            0.6,
            [
                [
                    (0, 0.2),
                    (0.45, 0),
                    (0.85, 0.2),
                    (0.55, 0.45),
                    (0.3, 0.5),
                    (0.55, 0.48),
                    (0.95, 0.7),
                    (0.5, 1),
                    (0, 0.85),
                ]
            ],
        ),
        (1, 0.5, [[(0, 0.08), (0.7, 0.08), (0.35, 0.45), (0.85, 0.6), (0.8, 0.88), (0.1, 1)]]),
    ],
    4: [
        (2.5, 0.7, [[(0.2, 0), (0.02, 0.6), (0.02, 0.6), (1, 0.58)], [(0.75, 0.1), (0.72, 1)]]),
        (1.5, 0.7, [[(0.7, 0), (0, 0.68), (0, 0.68), (1, 0.68)], [(0.72, 0.3), (0.72, 1)]]),
        (1.5, 0.7, [[(0.75, 1), (0.75, 0), (0.75, 0), (0, 0.68), (0, 0.68), (1, 0.68)]]),
        (1, 0.65, [[(0.1, 0), (0.05, 0.5), (0.45, 0.6), (0.85, 0.5)], [(0.85, 0), (0.8, 1)]]),
        (0.7, 0.7, [[(0.55, 0), (0, 0.6), (0, 0.6), (1, 0.5)], [(0.65, 0.35), (0.5, 1)]]),
    ],
    5: [
        (
            2,
            0.65,
            [
                [(0.2, 0), (0.12, 0.42), (0.12, 0.42), (0.6, 0.36), (0.92, 0.65), (0.6, 1), (0, 0.92)],
                [(0.2, 0.02), (0.95, 0)],
            ],
        ),
        (
            1.5,
            0.65,
            [
                [
                    (1, 0.02),
                    (0.2, 0),
                    (0.2, 0),
                    (0.1, 0.42),
                    (0.1, 0.42),
                    (0.6, 0.38),
                    (0.9, 0.68),
                    (0.55, 1),
                    (0, 0.9),
                ]
            ],
        ),
        (1, 0.6, [[(0.95, 0), (0.3, 0.05), (0.15, 0.4), (0.7, 0.5), (0.85, 0.8), (0.4, 1), (0, 0.92)]]),
        (
            0.8,
            0.7,
            [
                [(0.2, 0.08), (0.15, 0.45), (0.6, 0.4), (0.85, 0.7), (0.5, 1), (0, 0.9)],
                [(0.35, 0.02), (1, -0.04)],
            ],
        ),
    ],
    6: [
        (
            3,
            0.6,
            [
                [
                    (0.75, 0),
                    (0.25, 0.3),
                    (0.02, 0.7),
                    (0.4, 1),
                    (0.9, 0.85),
                    (0.85, 0.6),
                    (0.5, 0.5),
                    (0.05, 0.75),
                ]
            ],
        ),
        (1, 0.5, [[(0.5, 0), (0.1, 0.4), (0, 0.8), (0.4, 1), (0.85, 0.85), (0.6, 0.62), (0.1, 0.75)]]),
        (
            1,
            0.65,
            [
                [
                    (0.95, 0.1),
                    (0.6, 0),
                    (0.15, 0.3),
                    (0.02, 0.7),
                    (0.4, 1),
                    (0.9, 0.8),
                    (0.5, 0.55),
                    (0.05, 0.68),
                ]
            ],
        ),
        (
            0.7,
            0.6,
            [[(0.2, 0), (0.02, 0.6), (0.25, 0.98), (0.8, 0.95), (0.9, 0.65), (0.4, 0.58), (0.05, 0.8)]],
        ),
    ],
    7: [
        (2, 0.6, [[(0, 0.04), (0.95, 0), (0.95, 0), (0.4, 1)]]),
        (1.5, 0.6, [[(0, 0.04), (0.95, 0), (0.95, 0), (0.35, 1)], [(0.25, 0.5), (0.85, 0.48)]]),
        (
            0.8,
            0.6,
            [[(0.02, 0.2), (0.05, 0), (0.05, 0), (0.95, 0.02), (0.95, 0.02), (0.5, 0.5), (0.4, 1)]],
        ),
        (
            0.6,
            0.6,
            [
                [(0, 0.1), (0.3, 0.02), (0.6, 0.1), (1, 0), (0.6, 0.5), (0.45, 1)],
                [(0.25, 0.55), (0.9, 0.5)],
            ],
        ),
        (0.6, 0.55, [[(0, 0.02), (0.9, 0.02), (0.9, 0.02), (0.8, 1)]]),
    ],
    8: [
        (
            3,
            0.6,
            [
                [
                    (0.85, 0.12),
                    (0.45, 0),
                    (0.12, 0.2),
                    (0.5, 0.46),
                    (0.95, 0.75),
                    (0.5, 1),
                    (0.05, 0.8),
                    (0.45, 0.5),
                    (0.85, 0.2),
                    (0.75, 0.08),
                ]
            ],
        ),
        (
            1,
            0.55,
            [
                [(0.5, 0), (0.12, 0.2), (0.5, 0.46), (0.88, 0.2), (0.5, 0)],
                [(0.5, 0.46), (0, 0.75), (0.5, 1), (1, 0.75), (0.5, 0.46)],
            ],
        ),
        (
            1,
            0.6,
            [[(0.9, 0), (0.3, 0.05), (0.15, 0.25), (0.85, 0.75), (0.5, 1), (0.1, 0.8), (0.95, 0.05)]],
        ),
    ],
    9: [
        (
            2.5,
            0.55,
            [
                [
                    (0.9, 0.15),
                    (0.5, 0),
                    (0.05, 0.2),
                    (0.2, 0.5),
                    (0.6, 0.45),
                    (0.9, 0.12),
                    (0.9, 0.12),
                    (0.85, 1),
                ]
            ],
        ),
        (
            1.5,
            0.6,
            [
                [
                    (0.9, 0.15),
                    (0.5, 0),
                    (0.05, 0.22),
                    (0.25, 0.5),
                    (0.65, 0.45),
                    (0.92, 0.12),
                    (0.92, 0.6),
                    (0.6, 0.97),
                    (0.05, 0.9),
                ]
            ],
        ),
        (
            1,
            0.6,
            [
                [
                    (0.9, 0.1),
                    (0.5, 0),
                    (0.1, 0.15),
                    (0.15, 0.4),
                    (0.6, 0.4),
                    (0.9, 0.1),
                    (0.9, 0.1),
                    (0.85, 0.75),
                    (0.5, 1),
                    (0.1, 0.85),
                ]
            ],
        ),
        (
            0.8,
            0.6,
            [[(0.95, 0.05), (0.4, 0), (0, 0.25), (0.35, 0.5), (0.9, 0.1), (0.6, 0.6), (0.4, 1)]],
        ),
    ],
}


def draw(digit: int, generator: np.random.Generator) -> tuple[list[Points], float]:
    """A digit written in one of its ways, with the irregularity of a hand.

    Args:
        digit: 0 to 9.
        generator: of the random choices.

    Returns:
        Its strokes as polylines in a box of width and height 1, and the width of that box as a share of
        its height.
    """
    variants = TEMPLATES[digit]
    weights = np.array([weight for weight, _, _ in variants])
    _, aspect, strokes = variants[generator.choice(len(variants), p=weights / weights.sum())]
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
