"""Compare how an export prepares drawings with how mnistctl prepares them."""

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from mnistctl.images import center, ink
from mnistctl.pages import strokes
from mnistctl.types import Images

_DRAWINGS = 50
_SIDE = 196  # pixels of a drawing, as the pad of the page has
_SEED = 0


def mean_difference(prepare: Callable[[Images], Images]) -> float:
    """The mean difference of the images of drawings, in grey levels from 0 to 255.

    Args:
        prepare: of the export; takes a drawing, uint8 (H, W), 255 = paper, and returns its image,
            uint8 (28, 28), 0 = paper.
    """
    differences = []
    for drawing in _draw():
        grey = drawing[..., None].astype(np.float32) / np.float32(255)
        expected = center.fit(ink.find(grey, name="drawing"))
        differences.append(np.abs(prepare(drawing).astype(int) - expected).mean())
    return float(np.mean(differences))


def _draw() -> Iterator[Images]:
    """Digits drawn from templates with pens of different widths."""
    generator = np.random.default_rng(_SEED)
    for number in range(_DRAWINGS):
        lines, aspect = strokes.draw(number % 10, generator)
        size = np.array([min(aspect, 1.0), 1.0]) * _SIDE * generator.uniform(0.3, 0.8)
        place = generator.uniform(0.1, 0.9, 2) * (_SIDE - size)
        drawing = np.full((_SIDE, _SIDE), 255, dtype=np.uint8)
        thickness = int(generator.integers(2, 20))
        for points in lines:
            pixels = np.rint((points * size + place) * 16).astype(np.int32)
            cv2.polylines(drawing, [pixels], False, 0, thickness, cv2.LINE_AA, 4)
        yield drawing
