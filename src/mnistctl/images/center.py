"""Ink of any size -> the 28×28 field of MNIST: scaled into a 20×20 box, centred by its mass."""

import math

import numpy as np
from PIL import Image

from mnistctl.images.decode import Grey
from mnistctl.types import IMAGE_SIZE, Images

BOX = 20  # pixels: the longer side of the ink, after scaling
FAINT = 0.02  # of the strongest ink: what is fainter is no part of its size
CENTRE = 14  # the pixel, counted from 0, nearest to the centre of mass of every MNIST image

_LARGE = 200  # pixels: enough of the longer side to measure strokes by
_THIN, _THICKER = 0.09, 0.12  # of the longer side: thinner strokes are rare in MNIST; what they become
_SHARP = 0.6  # pixels: how far an edge reaches that is as sharp as pixels allow
_OUTER = 0.75  # of an edge's reach: what lies outside of the ink
_SHARPENING = 0.8  # of what a blur of one pixel takes away, for each pixel that edges reach


def fit(ink: Grey) -> Images:
    """Crop to the ink, scale its longer side to 20 pixels, put its centre of mass on the centre.

    Lines thinner than MNIST's become as thick as its thin ones. Edges that are softer than the
    picture's pixels make them, out of focus or enlarged, are sharpened, and what they spread to is
    no part of the ink's size.

    Args:
        ink: float32 (H, W) in [0, 1], 0 = paper; at least one pixel above 0.

    Returns:
        uint8 (28, 28), 0 = paper, 255 = ink.

    Source: LeCun et al. 1998, section III-A.
    """
    cropped = _cropped(ink)
    if max(cropped.shape) > _LARGE:
        scale = _LARGE / max(cropped.shape)
        size = [max(1, round(side * scale)) for side in cropped.shape[::-1]]
        cropped = np.asarray(Image.fromarray(cropped).resize((size[0], size[1]), Image.Resampling.BOX))
    soft = 0.0
    if max(cropped.shape) > BOX:
        cropped = _cropped(_thick_enough(cropped))
        soft = _softness(cropped)
    inset = min(_OUTER * soft, 0.1 * min(cropped.shape))
    rim = math.ceil(inset)
    if rim and not cropped[rim:-rim, rim:-rim].any():  # nothing but scraps along the edge
        inset = 0.0
    sides = [side - 2 * inset for side in cropped.shape]
    scale = BOX / max(sides)
    height, width = (max(1, round(side * scale)) for side in sides)
    if (height, width) != cropped.shape:
        box = (inset, inset, inset + sides[1], inset + sides[0])
        filtered = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
        resized = np.asarray(Image.fromarray(cropped).resize((width, height), filtered, box=box))
        cropped = np.clip(_sharpened(resized, soft * scale), 0, 1)
    down, right = center_of_mass_shift(cropped)
    field = np.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    top = (IMAGE_SIZE - height) // 2 + down
    left = (IMAGE_SIZE - width) // 2 + right
    field[top : top + height, left : left + width] = np.rint(cropped * 255)
    return field


def _cropped(ink: Grey) -> Grey:
    strong = ink > FAINT * ink.max()
    rows, columns = np.flatnonzero(strong.any(axis=1)), np.flatnonzero(strong.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _thick_enough(ink: Grey) -> Grey:
    """With its lines made thicker where they are thinner than MNIST's."""
    import cv2

    drawn = np.pad(ink > 0.5 * ink.max(), 1).astype(np.uint8)
    if not drawn.any():
        return ink
    # The mean distance to the edge of a line is a quarter of its width.
    width = 4 * float(cv2.distanceTransform(drawn, cv2.DIST_L2, 5)[drawn > 0].mean())
    longer = max(ink.shape)
    if width >= _THIN * longer:
        return ink
    more = round(_THICKER * longer - width)
    if more < 1:
        return ink
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (more + 1, more + 1))
    thicker: Grey = cv2.dilate(np.pad(ink, more), disk)
    return thicker


def _softness(ink: Grey) -> float:
    """How far edges reach, in pixels, beyond what pixels make of a sharp one."""
    import cv2

    most = float(ink.max())
    inner = np.pad(ink > most / 2, 1).astype(np.uint8)
    area = int(np.count_nonzero(inner))
    edge = area - int(np.count_nonzero(cv2.erode(inner, np.ones((3, 3), np.uint8))))
    spread = int(np.count_nonzero(ink > 0.05 * most)) - area
    return max(0.0, spread / max(edge, 1) - _SHARP)


def _sharpened(ink: Grey, soft: float) -> Grey:
    """Small ink with the edges that softness of so many pixels took."""
    import cv2

    if not soft:
        return ink
    blurred = cv2.GaussianBlur(ink, (0, 0), 1, borderType=cv2.BORDER_CONSTANT)
    amount = min(_SHARPENING * soft, 0.6)
    sharpened: Grey = ink + amount * (ink - blurred)
    return sharpened


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
        centre = start + float(weights @ np.arange(side) / weights.sum())
        wanted = round(CENTRE - centre)
        shift.append(min(max(wanted, -start), IMAGE_SIZE - side - start))
    return shift[0], shift[1]
