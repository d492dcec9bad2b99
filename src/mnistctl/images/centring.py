"""Ink of any size -> the 28×28 field of MNIST: scaled into a 20×20 box, centred by its mass."""

import numpy as np
from PIL import Image

from mnistctl.architectures import IMAGE_SIZE
from mnistctl.images.reading import Grey
from mnistctl.predictor import Images

BOX = 20  # pixels: the longer side of the ink, after scaling
FAINT = 0.05  # of the strongest ink: what compression leaves around strokes is fainter
CENTRE = 14  # the pixel, counted from 0, nearest to the centre of mass of every MNIST image


def fit(ink: Grey) -> Images:
    """Crop to the ink, scale its longer side to 20 pixels, put its centre of mass on the centre.

    Args:
        ink: float32 (H, W) in [0, 1], 0 = paper; at least one pixel above 0.

    Returns:
        uint8 (28, 28), 0 = paper, 255 = ink.

    Source: LeCun et al. 1998, section III-A.
    """
    strong = ink > FAINT * ink.max()
    rows, columns = np.flatnonzero(strong.any(axis=1)), np.flatnonzero(strong.any(axis=0))
    cropped = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(cropped.shape)
    height, width = (max(1, round(side * scale)) for side in cropped.shape)
    if (height, width) != cropped.shape:
        resized = Image.fromarray(cropped).resize((width, height), Image.Resampling.BICUBIC)
        cropped = np.clip(np.asarray(resized), 0, 1)
    down, right = center_of_mass_shift(cropped)
    field = np.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    top = (IMAGE_SIZE - height) // 2 + down
    left = (IMAGE_SIZE - width) // 2 + right
    field[top : top + height, left : left + width] = np.rint(cropped * 255)
    return field


def center_of_mass_shift(ink: Grey) -> tuple[int, int]:
    """Whole-pixel shift that brings centred ink's centre of mass to the centre of the field.

    Args:
        ink: float32 (H, W), H and W at most 20, some of it above 0; put centred on 28×28.

    Returns:
        (down, right), such that no ink leaves the field.

    Source: LeCun et al. 1998, section III-A.
    """
    shift = []
    for axis, side in enumerate(ink.shape):
        weights = ink.sum(axis=1 - axis, dtype=np.float64)
        start = (IMAGE_SIZE - side) // 2
        centre = start + float(np.average(np.arange(side), weights=weights))
        wanted = round(CENTRE - centre)
        shift.append(int(np.clip(wanted, -start, IMAGE_SIZE - side - start)))
    return shift[0], shift[1]
