"""Fit ink of any size into a 28×28 image as MNIST does: scale to 20×20, centre by mass."""

import math

import numpy as np
from PIL import Image

from mnistctl.images.decode import Grey
from mnistctl.types import IMAGE_SIZE, Images

_INK_SIDE = 20  # pixels: longer side of the ink in the image
_CENTRE = 14  # index of the row and column that is nearest to the centre of mass in MNIST
_MIN_INK = 0.02  # share of the strongest ink: weaker ink does not count for the size

_MAX_MEASURED_SIDE = 200  # pixels: ink with a longer side is reduced before strokes are measured
_MIN_STROKE = 0.09  # stroke width / longer side: thinner strokes are rare in MNIST and are thickened
_THICKENED_STROKE = 0.12  # stroke width / longer side after thickening
_SHARP_EDGE = 0.6  # pixels: width of the edge of a sharp stroke
_OUTER_EDGE = 0.75  # share of a blurred edge's width that is outside the stroke
_SHARPENING = 0.8  # strength of sharpening per pixel of blur, as a share of a 1-pixel blur's effect
_MAX_SHARPENING = 0.6  # upper limit of that strength


def fit(ink: Grey) -> Images:
    """Crop to the ink, scale its longer side to 20 pixels, and centre it by its mass.

    Strokes that are thinner than MNIST's are thickened. Edges that are blurred, because the picture
    is out of focus or enlarged, are sharpened. The blur does not count for the ink's size.

    Args:
        ink: float32 (H, W) in [0, 1], 0 = paper; at least one pixel above 0.

    Returns:
        uint8 (28, 28), 0 = paper, 255 = ink.

    Source: LeCun et al. 1998, section III-A.
    """
    cropped = _crop(ink)
    if max(cropped.shape) > _MAX_MEASURED_SIDE:
        scale = _MAX_MEASURED_SIDE / max(cropped.shape)
        size = [max(1, round(side * scale)) for side in cropped.shape[::-1]]
        cropped = np.asarray(Image.fromarray(cropped).resize((size[0], size[1]), Image.Resampling.BOX))
    blur = 0.0
    if max(cropped.shape) > _INK_SIDE:
        cropped = _crop(_thicken(cropped))
        blur = _measure_blur(cropped)
    scaled = _scale(cropped, blur)
    height, width = scaled.shape
    down, right = center_of_mass_shift(scaled)
    top = (IMAGE_SIZE - height) // 2 + down
    left = (IMAGE_SIZE - width) // 2 + right
    image = np.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    image[top : top + height, left : left + width] = np.rint(scaled * 255)
    return image


def _crop(ink: Grey) -> Grey:
    is_ink = ink > _MIN_INK * ink.max()
    rows, columns = np.flatnonzero(is_ink.any(axis=1)), np.flatnonzero(is_ink.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _thicken(ink: Grey) -> Grey:
    """Make strokes thicker if they are thinner than MNIST's."""
    import cv2

    is_stroke = np.pad(ink > 0.5 * ink.max(), 1).astype(np.uint8)
    if not is_stroke.any():
        return ink
    # The mean distance to the edge of a line is a quarter of its width.
    width = 4 * float(cv2.distanceTransform(is_stroke, cv2.DIST_L2, 5)[is_stroke > 0].mean())
    longer_side = max(ink.shape)
    if width >= _MIN_STROKE * longer_side:
        return ink
    growth = round(_THICKENED_STROKE * longer_side - width)
    if growth < 1:
        return ink
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (growth + 1, growth + 1))
    thickened: Grey = cv2.dilate(np.pad(ink, growth), disk)
    return thickened


def _measure_blur(ink: Grey) -> float:
    """The width of the strokes' edges in pixels, beyond the width of a sharp edge."""
    import cv2

    strongest = float(ink.max())
    inner = np.pad(ink > strongest / 2, 1).astype(np.uint8)
    area = int(np.count_nonzero(inner))
    edge = area - int(np.count_nonzero(cv2.erode(inner, np.ones((3, 3), np.uint8))))
    outside = int(np.count_nonzero(ink > 0.05 * strongest)) - area
    return max(0.0, outside / max(edge, 1) - _SHARP_EDGE)


def _scale(ink: Grey, blur: float) -> Grey:
    """Scale the longer side to 20 pixels without the outer part of blurred edges, and sharpen."""
    inset = min(_OUTER_EDGE * blur, 0.1 * min(ink.shape))
    margin = math.ceil(inset)
    if margin and not ink[margin:-margin, margin:-margin].any():  # all ink is along the border
        inset = 0.0
    sides = [side - 2 * inset for side in ink.shape]
    scale = _INK_SIDE / max(sides)
    height, width = (max(1, round(side * scale)) for side in sides)
    if (height, width) == ink.shape:
        return ink
    box = (inset, inset, inset + sides[1], inset + sides[0])
    filter_ = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    resized = np.asarray(Image.fromarray(ink).resize((width, height), filter_, box=box))
    return np.clip(_sharpen(resized, blur * scale), 0, 1)


def _sharpen(ink: Grey, blur: float) -> Grey:
    """Sharpen small ink whose edges are blurred over `blur` pixels."""
    import cv2

    if not blur:
        return ink
    blurred = cv2.GaussianBlur(ink, (0, 0), 1, borderType=cv2.BORDER_CONSTANT)
    amount = min(_SHARPENING * blur, _MAX_SHARPENING)
    sharpened: Grey = ink + amount * (ink - blurred)
    return sharpened


def center_of_mass_shift(ink: Grey) -> tuple[int, int]:
    """Whole-pixel shift that moves the ink's centre of mass to the centre of the image.

    Args:
        ink: float32 (H, W), H and W at most 20, at least one pixel above 0; it is placed in the
            middle of the 28×28 image before the shift.

    Returns:
        (down, right), limited so that all ink stays inside the image.

    Source: LeCun et al. 1998, section III-A.
    """
    shift = []
    for axis, side in enumerate(ink.shape):
        weights = ink.sum(axis=1 - axis, dtype=np.float64)
        start = (IMAGE_SIZE - side) // 2
        centre = start + float(weights @ np.arange(side) / weights.sum())
        shift.append(min(max(round(_CENTRE - centre), -start), IMAGE_SIZE - side - start))
    return shift[0], shift[1]
