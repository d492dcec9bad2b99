"""Images of single digits in other hands and in print, to train with beside those of a dataset."""

import dataclasses

import cv2
import numpy as np

from mnistctl import datasets
from mnistctl.datasets import Split
from mnistctl.errors import UsageError
from mnistctl.images import center
from mnistctl.pages import canvas, glyphs
from mnistctl.pages.canvas import Canvas
from mnistctl.pages.glyphs import GlyphBank
from mnistctl.types import IMAGE_SIZE, Images

BUNDLED = "digits"  # the dataset inside the package

_GLYPHS = 4_000  # of each kind: thinned images, templates, and fonts in two ways
_MIN_HEIGHT, _MAX_HEIGHT = 9.0, 60.0  # pixels: height of a digit before it is fitted into an image
_BINARY_SHARE, _BLURRED_SHARE = 0.2, 0.3


def add(split: Split, count: int, *, seed: int) -> Split:
    """A split with additional images of digits, drawn from the shapes of `glyphs.build_bank`.

    They are prepared as pictures are: 0.6 ms per image. The training images of the bundled dataset,
    which people of another country wrote, are added too.

    Args:
        split: images of the ten digits.
        count: the number of images to add, 0 or more.
        seed: decides the images.

    Raises:
        UsageError: the classes of the dataset are not the ten digits.
    """
    if not count:
        return split
    if list(split.class_names) != list("0123456789"):
        raise UsageError(
            f"--variants: the dataset {split.dataset} has other classes than the ten digits"
        )
    generator = np.random.default_rng((seed, 2))
    bank = glyphs.build_bank(split.images, split.labels, size=_GLYPHS, seed=seed)
    labels = generator.permutation(np.arange(count) % 10)
    images = np.stack([_draw(int(digit), bank, generator) for digit in labels])
    others = datasets.load(BUNDLED, "train")
    if split.dataset == BUNDLED:
        others = others.take(slice(0), name="train")
    return dataclasses.replace(
        split,
        images=np.concatenate([split.images, images, others.images]),
        labels=np.concatenate([split.labels, labels, others.labels]),
    )


def _draw(digit: int, bank: GlyphBank, generator: np.random.Generator) -> Images:
    """A digit as `images.read` would prepare a picture of it, uint8 (28, 28)."""
    height = float(np.exp(generator.uniform(np.log(_MIN_HEIGHT), np.log(_MAX_HEIGHT))))
    side = int(2 * height) + 4
    page = Canvas(side, side, bank, generator)
    hand = canvas.draw_hand(height, generator)._replace(raw_share=0.0)
    page.write_digit(digit, 0.6 * height, 0.5 * height, height, hand)
    ink = page.ink / max(float(page.ink.max()), 0.1)
    kind = generator.random()
    if kind < _BINARY_SHARE:
        ink = (ink > 0.5).astype(np.float32)
    elif kind < _BINARY_SHARE + _BLURRED_SHARE:
        ink = cv2.GaussianBlur(ink, (0, 0), float(generator.uniform(0.4, 0.04 * height + 0.5)))
    if not ink.any():
        return np.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    return center.fit(ink)
