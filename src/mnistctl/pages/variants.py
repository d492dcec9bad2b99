"""Images of single digits in other hands and in print, to train with beside those of a dataset."""

import cv2
import numpy as np

from mnistctl.images import center
from mnistctl.pages import canvas, glyphs
from mnistctl.pages.canvas import Canvas
from mnistctl.pages.glyphs import GlyphBank
from mnistctl.types import IMAGE_SIZE, Images, Labels

_MIN_GLYPHS = 500  # of each kind, so that every digit has some
_GLYPHS = 4_000  # the same, at most: thinned images, templates, and fonts in two ways
_MIN_HEIGHT, _MAX_HEIGHT = 9.0, 60.0  # pixels: height of a digit before it is fitted into an image
_BINARY_SHARE, _BLURRED_SHARE = 0.2, 0.3


def draw(images: Images, labels: Labels, count: int, *, seed: int) -> tuple[Images, Labels]:
    """Draw digits with the shapes of `glyphs.build_bank`, prepared as pictures are: 0.6 ms each.

    Args:
        images: uint8 (N, 28, 28), of the ten digits; some shapes are theirs.
        labels: int64 (N,), 0 to 9.
        count: the number of images to draw, 1 or more.
        seed: decides the images.

    Returns:
        Images, uint8 (count, 28, 28), and their labels, int64 (count,): as many of each digit.
    """
    generator = np.random.default_rng((seed, 2))
    bank = glyphs.build_bank(images, labels, size=min(_GLYPHS, max(_MIN_GLYPHS, count)), seed=seed)
    drawn_labels = generator.permutation(np.arange(count) % 10)
    drawn = np.stack([_draw(int(digit), bank, generator) for digit in drawn_labels])
    return drawn, drawn_labels


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
