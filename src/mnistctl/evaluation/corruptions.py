"""What may happen to an image on its way: moved, turned, blurred, hidden in part, and so on."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from mnistctl.types import IMAGE_SIZE, Images

_CENTRE = (IMAGE_SIZE - 1) / 2 + 0.5  # pixels have their middles at halves here
_BOX = 20  # pixels, the middle of an image, where the ink is

Random = np.random.Generator


@dataclass(frozen=True)
class Corruption:
    """A way to spoil images, and how far it is tried."""

    name: str
    unit: str
    strengths: tuple[float, ...]
    corrupt: Callable[[Images, float, Random], Images]  # images (N, 28, 28), which are left alone


def _transformed(
    images: Images, random: Random, inverse: Callable[[float], tuple[float, float, float, float]]
) -> Images:
    """Images under a linear map about their middle, of either sign by chance.

    `inverse` gives for a sign, ±1, the (a, b, c, d) of where a pixel (x, y) comes from:
    (a x + b y, c x + d y).
    """
    made = np.empty_like(images)
    for number, sign in enumerate(random.choice([-1.0, 1.0], len(images))):
        a, b, c, d = inverse(sign)
        data = (a, b, _CENTRE * (1 - a - b), c, d, _CENTRE * (1 - c - d))
        made[number] = _warped(images[number], data)
    return made


def _warped(image: Images, data: tuple[float, ...]) -> Images:
    picture = Image.fromarray(image)
    bilinear = Image.Resampling.BILINEAR
    return np.asarray(picture.transform(picture.size, Image.Transform.AFFINE, data, bilinear))


def _shift(images: Images, pixels: float, random: Random) -> Images:
    """To one of the eight sides."""
    sides = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y]
    made = np.empty_like(images)
    for number, side in enumerate(random.integers(len(sides), size=len(images))):
        x, y = sides[side]
        made[number] = _warped(images[number], (1, 0, x * pixels, 0, 1, y * pixels))
    return made


def _rotate(images: Images, degrees: float, random: Random) -> Images:
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    return _transformed(images, random, lambda sign: (cosine, sign * sine, -sign * sine, cosine))


def _scale(images: Images, factor: float, random: Random) -> Images:
    return _transformed(images, random, lambda _: (1 / factor, 0, 0, 1 / factor))


def _shear(images: Images, slope: float, random: Random) -> Images:
    return _transformed(images, random, lambda sign: (1, sign * slope, 0, 1))


def _noise(images: Images, deviation: float, random: Random) -> Images:
    noise = random.normal(0, 255 * deviation, images.shape)
    made: Images = np.rint(np.clip(images + noise, 0, 255)).astype(np.uint8)
    return made


def _blur(images: Images, pixels: float, random: Random) -> Images:
    soft = ImageFilter.GaussianBlur(pixels)
    return np.stack([np.asarray(Image.fromarray(image).filter(soft)) for image in images])


def _strokes(images: Images, pixels: float, random: Random) -> Images:
    """Thicker by so many pixels, or thinner: the lightest or the darkest of a square of neighbours."""
    side = 1 + int(abs(pixels))
    before = (side - 1) // 2
    padded = np.pad(images, ((0, 0), *2 * ((before, side - 1 - before),)))
    around = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))
    made: Images = around.max(axis=(3, 4)) if pixels > 0 else around.min(axis=(3, 4))
    return made


def _contrast(images: Images, share: float, random: Random) -> Images:
    made: Images = np.rint(images * share).astype(np.uint8)
    return made


def _occlusion(images: Images, side: float, random: Random) -> Images:
    """A square of paper somewhere over the ink."""
    made, size = images.copy(), int(side)
    first = (IMAGE_SIZE - _BOX) // 2
    corners = random.integers(first, first + _BOX - size + 1, (len(images), 2))
    for image, (row, column) in zip(made, corners, strict=True):
        image[row : row + size, column : column + size] = 0
    return made


def _inversion(images: Images, _: float, random: Random) -> Images:
    return 255 - images


CORRUPTIONS = (
    Corruption("shift", "pixels", (1, 2, 3, 4), _shift),
    Corruption("rotation", "degrees", (5, 10, 15, 20, 30), _rotate),
    Corruption("scale", "times", (0.6, 0.7, 0.8, 0.9, 1.1, 1.2, 1.3), _scale),
    Corruption("shear", "of the height", (0.1, 0.2, 0.3, 0.4), _shear),
    Corruption("noise", "standard deviation", (0.1, 0.2, 0.3, 0.4), _noise),
    Corruption("blur", "pixels", (0.5, 1, 1.5, 2), _blur),
    Corruption("stroke width", "pixels", (-2, -1, 1, 2), _strokes),
    Corruption("contrast", "of the ink", (0.75, 0.5, 0.25, 0.1), _contrast),
    Corruption("occlusion", "pixels square", (4, 6, 8, 10), _occlusion),
    Corruption("inversion", "", (1,), _inversion),
)
