"""A user's own pictures of numbers, as pages to train a detector on."""

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np

from mnistctl.images.decode import Picture
from mnistctl.models.predictor import PagePredictor
from mnistctl.pages import detect, read
from mnistctl.pages.align import align
from mnistctl.pages.arrange import Boxes
from mnistctl.pages.camera import Pixels
from mnistctl.pages.compose import Page
from mnistctl.types import Floats

# Augmentation.
_MIN_DIGIT, _MAX_DIGIT = 13.0, 48.0  # pixels: height of a digit on its page
_MAX_ENLARGEMENT = 3.0
_STRETCH = 0.08  # standard deviation of the logarithm of width / height
_ROTATION = 2.0  # degrees, standard deviation
_SHEAR = 0.08  # pixels sideways per pixel of height, standard deviation
_GAMMA = 0.25  # standard deviation of its logarithm
_MAX_NOISE = 10.0  # standard deviation, of 255 grey levels
_MIN_VISIBLE = 0.85  # share of a digit's box that is on the page; with less it is ignored


class LabelledPicture(NamedTuple):
    """A picture with its number."""

    image: Pixels  # as a detector sees it at full size: 0 = paper, 255 = the darkest ink
    number: str  # its digits
    boxes: Boxes  # (digits, 4) in pixels, from left to right; (0, 4): unknown


def prepare(picture: Picture, number: str) -> LabelledPicture:
    """A picture without boxes.

    Args:
        picture: dark digits on light paper, or light ones on dark paper.
        number: its digits, one or more.
    """
    return LabelledPicture(detect.grey_levels(picture), number, np.zeros((0, 4), dtype=np.float32))


def find_boxes(labelled: LabelledPicture, detector: PagePredictor) -> LabelledPicture | None:
    """The picture with the boxes of its digits, as the detector finds them; None: it does not.

    Raises:
        ModelError: the runtime cannot run the detector.
    """
    found = detect.find(labelled.image, detector)
    rows = align(labelled.number, found)
    return None if rows is None else _reduce(labelled._replace(boxes=found.boxes[rows]))


def _reduce(labelled: LabelledPicture) -> LabelledPicture:
    """The picture no larger than pages show it; its boxes to a quarter of a pixel."""
    heights = labelled.boxes[:, 3] - labelled.boxes[:, 1]
    scale = min(1.0, _MAX_DIGIT / float(np.median(heights)))
    rows, columns = (max(1, round(side * scale)) for side in labelled.image.shape)
    image: Pixels = cv2.resize(labelled.image, (columns, rows), interpolation=cv2.INTER_AREA)
    boxes: Boxes = (np.round(4 * scale * labelled.boxes) / 4).astype(np.float32)
    return labelled._replace(image=image, boxes=boxes)


def count_right(pictures: Iterable[LabelledPicture], detector: PagePredictor) -> int:
    """The number of pictures whose digits are all read correctly.

    Raises:
        ModelError: the runtime cannot run the detector.
    """
    count = 0
    for labelled in pictures:
        digits = read.read(_as_picture(labelled.image), detector, threshold=None)
        text = "".join(str(digit.probabilities.argmax()) for digit in digits)
        count += text == labelled.number
    return count


def _as_picture(image: Pixels) -> Picture:
    return Picture(((255 - image[..., None]) / 255).astype(np.float32), scale=1)


def augment(
    labelled: LabelledPicture, generator: np.random.Generator, *, height: int, width: int
) -> Page:
    """A page with the picture, or with a part of it: moved, scaled, distorted, lighter or darker.

    Args:
        labelled: a picture with boxes.
        generator: decides everything.
        height: of the page in pixels.
        width: of the page in pixels.
    """
    sizes = labelled.boxes[:, 2:] - labelled.boxes[:, :2]
    digit_height = np.exp(generator.uniform(np.log(_MIN_DIGIT), np.log(_MAX_DIGIT)))
    scale = min(digit_height / float(np.median(sizes[:, 1])), _MAX_ENLARGEMENT)
    stretch = np.exp(generator.normal(0, _STRETCH))
    rows, columns = labelled.image.shape
    size = np.maximum(np.rint([columns * scale * stretch, rows * scale]), 1)  # width, height
    scales = size / (columns, rows)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    image = cv2.resize(labelled.image, size.astype(int).tolist(), interpolation=method)

    centers = (labelled.boxes[:, :2] + labelled.boxes[:, 2:]) / 2 * scales
    linear = _distortion(generator)
    pivot = centers[generator.integers(len(centers))]
    place = _place(pivot, size, np.array([width, height]), generator)
    matrix = np.column_stack([linear, place - linear @ pivot])
    image = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)

    centers, half = centers @ linear.T + matrix[:, 2], sizes * scales / 2
    boxes = np.hstack([centers - half, centers + half])
    visible = boxes.clip(0, (width, height, width, height))
    shares = (visible[:, 2:] - visible[:, :2]).prod(axis=1) / (4 * half.prod(axis=1))
    labels = np.array([int(digit) for digit in labelled.number], dtype=np.int64)
    labels[shares < _MIN_VISIBLE] = -1
    kept = shares > 0
    return Page(_expose(image, generator), visible[kept].astype(np.float32), labels[kept])


def _distortion(generator: np.random.Generator) -> Floats:
    """A small rotation and shear, (2, 2)."""
    angle = np.deg2rad(generator.normal(0, _ROTATION))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shear: Floats = rotation @ [[1, generator.normal(0, _SHEAR)], [0, 1]]
    return shear


def _place(pivot: Floats, size: Floats, page: Floats, generator: np.random.Generator) -> Floats:
    """Where a point of the picture is on the page: (x, y).

    A picture that fits is anywhere on the page. Of another the page shows a part, around the point.

    Args:
        pivot: the point, (x, y).
        size: of the picture, (width, height).
        page: size of the page, (width, height).
        generator: decides.
    """
    free = page - size
    fits = generator.uniform(size=2) * free + pivot
    part = (generator.uniform(0.2, 0.8, 2) * page).clip(np.minimum(free, 0) + pivot, pivot)
    return np.where(free >= 0, fits, part)


def _expose(image: Pixels, generator: np.random.Generator) -> Pixels:
    """The same picture with another exposure, a little blurred or noisy."""
    ink = (image / np.float32(255)) ** np.exp(generator.normal(0, _GAMMA))
    if generator.random() < 0.3:
        ink = cv2.GaussianBlur(ink, (0, 0), generator.uniform(0.3, 1.0))
    noise = generator.normal(0, generator.uniform(0, _MAX_NOISE), image.shape)
    pixels: Pixels = (255 * ink + noise).clip(0, 255).astype(np.uint8)
    return pixels
