"""A digit of a picture: its place, and its ink as an image."""

from typing import NamedTuple

import numpy as np

from mnistctl.images.decode import Grey
from mnistctl.types import Images


class Box(NamedTuple):
    """A rectangle in a picture, in pixels from the picture's upper left corner."""

    left: int
    top: int
    width: int
    height: int

    @property
    def bottom(self) -> int:
        """Index of the first row below the box."""
        return self.top + self.height


class Digit(NamedTuple):
    """A digit of a picture: its place, and its ink as an image."""

    box: Box
    image: Images  # uint8 (28, 28)


def box_of(ink: Grey) -> Box:
    """The smallest box around all ink, float32 (H, W), at least one pixel above 0."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return Box(int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)
