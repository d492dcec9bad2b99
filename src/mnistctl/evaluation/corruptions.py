"""Corruptions of images, to measure how robust a model is: shifted, rotated, blurred, and so on."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from mnistctl.types import IMAGE_SIZE, Images

_CENTRE = IMAGE_SIZE / 2  # pixels; Pillow's pixel centres are at half integers
_INK_SIDE = 20  # pixels: side of the square in the middle of an image that holds its ink

Random = np.random.Generator


@dataclass(frozen=True)
class Corruption:
    """A way to corrupt images, and the strengths at which it is measured."""

    name: str
    unit: str  # of the strengths; "": none
    strengths: tuple[float, ...]
    corrupt: Callable[[Images, float, Random], Images]  # takes (N, 28, 28); does not change its input


def _transform(
    images: Images, random: Random, inverse: Callable[[float], tuple[float, float, float, float]]
) -> Images:
    """Apply a linear map around the centre of each image, with a random sign.

    Args:
        images: uint8 (N, 28, 28).
        random: draws the sign of each image, 1 or -1.
        inverse: returns (a, b, c, d) for a sign; the output pixel (x, y) is the input pixel
            (a x + b y, c x + d y), relative to the centre.
    """
    result = np.empty_like(images)
    for index, sign in enumerate(random.choice([-1.0, 1.0], len(images))):
        a, b, c, d = inverse(sign)
        data = (a, b, _CENTRE * (1 - a - b), c, d, _CENTRE * (1 - c - d))
        result[index] = _warp(images[index], data)
    return result


def _warp(image: Images, data: tuple[float, ...]) -> Images:
    picture = Image.fromarray(image)
    bilinear = Image.Resampling.BILINEAR
    return np.asarray(picture.transform(picture.size, Image.Transform.AFFINE, data, bilinear))


def _shift(images: Images, pixels: float, random: Random) -> Images:
    """Shift each image in one of eight directions."""
    directions = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y]
    result = np.empty_like(images)
    for index, direction in enumerate(random.integers(len(directions), size=len(images))):
        x, y = directions[direction]
        result[index] = _warp(images[index], (1, 0, x * pixels, 0, 1, y * pixels))
    return result


def _rotate(images: Images, degrees: float, random: Random) -> Images:
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    return _transform(images, random, lambda sign: (cosine, sign * sine, -sign * sine, cosine))


def _scale(images: Images, factor: float, random: Random) -> Images:
    return _transform(images, random, lambda _: (1 / factor, 0, 0, 1 / factor))


def _shear(images: Images, slope: float, random: Random) -> Images:
    return _transform(images, random, lambda sign: (1, sign * slope, 0, 1))


def _add_noise(images: Images, deviation: float, random: Random) -> Images:
    noise = random.normal(0, 255 * deviation, images.shape)
    noisy: Images = np.rint(np.clip(images + noise, 0, 255)).astype(np.uint8)
    return noisy


def _blur(images: Images, pixels: float, random: Random) -> Images:
    """Blur with a Gaussian whose standard deviation is `pixels`."""
    blur = ImageFilter.GaussianBlur(pixels)
    return np.stack([np.asarray(Image.fromarray(image).filter(blur)) for image in images])


def _change_stroke_width(images: Images, pixels: float, random: Random) -> Images:
    """Make strokes wider, or narrower if `pixels` is negative: the maximum or minimum of a square."""
    side = 1 + int(abs(pixels))
    before = (side - 1) // 2
    margin = (before, side - 1 - before)
    padded = np.pad(images, ((0, 0), margin, margin))
    squares = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))
    result: Images = squares.max(axis=(3, 4)) if pixels > 0 else squares.min(axis=(3, 4))
    return result


def _reduce_contrast(images: Images, share: float, random: Random) -> Images:
    faint: Images = np.rint(images * share).astype(np.uint8)
    return faint


def _occlude(images: Images, side: float, random: Random) -> Images:
    """Cover a square of each image with paper, at a random place inside the ink's square."""
    result, size = images.copy(), int(side)
    first = (IMAGE_SIZE - _INK_SIDE) // 2
    corners = random.integers(first, first + _INK_SIDE - size + 1, (len(images), 2))
    for image, (row, column) in zip(result, corners, strict=True):
        image[row : row + size, column : column + size] = 0
    return result


def _invert(images: Images, _: float, random: Random) -> Images:
    return 255 - images


CORRUPTIONS = (
    Corruption("shift", "pixels", (1, 2, 3, 4), _shift),
    Corruption("rotation", "degrees", (5, 10, 15, 20, 30), _rotate),
    Corruption("scale", "times", (0.6, 0.7, 0.8, 0.9, 1.1, 1.2, 1.3), _scale),
    Corruption("shear", "of the height", (0.1, 0.2, 0.3, 0.4), _shear),
    Corruption("noise", "standard deviation", (0.1, 0.2, 0.3, 0.4), _add_noise),
    Corruption("blur", "pixels", (0.5, 1, 1.5, 2), _blur),
    Corruption("stroke width", "pixels", (-2, -1, 1, 2), _change_stroke_width),
    Corruption("contrast", "of the ink", (0.75, 0.5, 0.25, 0.1), _reduce_contrast),
    Corruption("occlusion", "pixels square", (4, 6, 8, 10), _occlude),
    Corruption("inversion", "", (1,), _invert),
)
