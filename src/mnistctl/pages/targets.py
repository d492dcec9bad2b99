"""What the detector is to answer for a composed page: the place, size and class of each digit."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mnistctl.pages.compose import Page

STRIDE = 4  # pixels of the page per cell of the detector's grid

_SPREAD = 0.12  # standard deviation of the peak around a digit's centre / side of its box
_MIN_SPREAD = 0.35  # cells
_REACH = 4  # cells around the centre: beyond them the peak is 0
_MIN_DISTANCE = 0.05  # cells from a cell's centre to a side of the box


class Targets(NamedTuple):
    """Targets for a grid of H × W cells."""

    heat: npt.NDArray[np.float32]  # (10, H, W): 1 at the centre of a digit, falling off around it
    weight: npt.NDArray[np.float32]  # (1, H, W): 0 on digits that are cut off, else 1
    boxes: npt.NDArray[np.float32]  # (4, H, W): distances in cells to the sides of the box; 0: no box


def of_page(page: Page) -> Targets:
    """The targets for a page whose sides are multiples of the stride."""
    rows, columns = (side // STRIDE for side in page.image.shape)
    targets = Targets(
        np.zeros((10, rows, columns), dtype=np.float32),
        np.ones((1, rows, columns), dtype=np.float32),
        np.zeros((4, rows, columns), dtype=np.float32),
    )
    boxes = page.boxes / STRIDE
    for left, top, right, bottom in boxes[page.labels < 0]:
        targets.weight[0, int(top) : math.ceil(bottom), int(left) : math.ceil(right)] = 0
    for box, label in zip(boxes, page.labels, strict=True):
        if label >= 0:
            _mark(targets, box, int(label))
    return targets


def _mark(targets: Targets, box: npt.NDArray[np.float32], label: int) -> None:
    left, top, right, bottom = map(float, box)
    rows, columns = targets.heat.shape[1:]
    row = min(int((top + bottom) / 2), rows - 1)
    column = min(int((left + right) / 2), columns - 1)
    near_rows = np.arange(max(0, row - _REACH), min(rows, row + _REACH + 1))
    near_columns = np.arange(max(0, column - _REACH), min(columns, column + _REACH + 1))
    down = (near_rows - row) / max(_SPREAD * (bottom - top), _MIN_SPREAD)
    across = (near_columns - column) / max(_SPREAD * (right - left), _MIN_SPREAD)
    area = targets.heat[label, near_rows[0] : near_rows[-1] + 1, near_columns[0] : near_columns[-1] + 1]
    np.maximum(area, np.exp(-(down[:, None] ** 2 + across**2) / 2), out=area)
    targets.heat[label, row, column] = 1
    targets.weight[0, row, column] = 1
    for y in range(max(0, row - 1), min(rows, row + 2)):
        for x in range(max(0, column - 1), min(columns, column + 2)):
            distances = np.array([x + 0.5 - left, y + 0.5 - top, right - x - 0.5, bottom - y - 0.5])
            is_centre = (y, x) == (row, column)
            is_free = targets.boxes[0, y, x] == 0 and distances.min() > _MIN_DISTANCE
            if is_centre or is_free:
                targets.boxes[:, y, x] = np.maximum(distances, _MIN_DISTANCE)
