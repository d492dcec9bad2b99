"""Compare how an export prepares drawings with how mnistctl prepares them."""

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from mnistctl.images import center, ink
from mnistctl.pages import strokes
from mnistctl.types import Images

_DRAWINGS = 50
_MIN_SIDE, _MAX_SIDE = 60, 500  # pixels of a drawing
_SEED = 0


def largest_difference(prepare: Callable[[Images], Images]) -> float:
    """How much the images of drawings differ at most, in grey levels from 0 to 255.

    Args:
        prepare: of the export; takes a drawing, uint8 (H, W), 255 = white, and returns its image,
            uint8 (28, 28), 0 = paper.

    Returns:
        The mean over the pixels of the image that differs most.
    """
    differences = []
    for drawing in _draw():
        grey = drawing[..., None].astype(np.float32) / np.float32(255)
        expected = center.fit(ink.find(grey, name="drawing"))
        differences.append(np.abs(prepare(drawing).astype(int) - expected).mean())
    return float(np.max(differences))


def _draw() -> Iterator[Images]:
    """Digits drawn from templates: small and large, thin and thick, dark on light and light on dark."""
    generator = np.random.default_rng(_SEED)
    for number in range(_DRAWINGS):
        lines, aspect = strokes.draw(number % 10, generator)
        side = int(generator.integers(_MIN_SIDE, _MAX_SIDE))
        size = np.array([min(aspect, 1.0), 1.0]) * side * generator.uniform(0.3, 0.8)
        place = generator.uniform(0.1, 0.9, 2) * (side - size)
        drawing = np.full((side, side), 255, dtype=np.uint8)
        thickness = max(1, int(side * generator.uniform(0.01, 0.1)))
        for points in lines:
            pixels = np.rint((points * size + place) * 16).astype(np.int32)
            cv2.polylines(drawing, [pixels], False, 0, thickness, cv2.LINE_AA, 4)
        yield drawing if generator.random() < 0.7 else 255 - drawing
