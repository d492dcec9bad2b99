"""Glyphs: the shapes of digits from which pages are composed, as lines without width.

A glyph is stored as a field of distances to its line, so that it can be drawn at any size with a pen of
any width. Half of the glyphs are the thinned images of a dataset, half are drawn from templates.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mnistctl.pages import strokes
from mnistctl.types import Images, Labels

SIDE = 64  # pixels of a field
HEIGHT = 44  # pixels of a field that the longer side of a glyph has
DISTANCE_UNIT = 8.0  # a distance of one pixel of the field, as stored

Fields = npt.NDArray[np.uint8]  # (N, 64, 64): distances to the line, at most 31.9 pixels


@dataclass(frozen=True)
class GlyphBank:
    """Glyphs by digit."""

    fields: Fields
    labels: Labels  # (N,)
    rows: tuple[npt.NDArray[np.intp], ...]  # of each digit
    images: Images  # (M, 28, 28), to be used with their own strokes
    image_rows: tuple[npt.NDArray[np.intp], ...]  # of each digit


def build_bank(images: Images, labels: Labels, *, size: int, seed: int) -> GlyphBank:
    """Glyphs from a dataset's images, and as many from templates.

    Args:
        images: uint8 (N, 28, 28), 0 = paper, 255 = ink.
        labels: int64 (N,), 0 to 9.
        size: the largest number of images to use.
        seed: selects the images and draws the templates.
    """
    generator = np.random.default_rng((seed, 1))
    rows = np.sort(generator.permutation(len(images))[:size])
    digits = generator.integers(0, 10, len(rows))
    fields = np.concatenate(
        [
            np.stack([distances(line) for line in thin(images[rows])]),
            np.stack([_draw_template(int(digit), generator) for digit in digits]),
        ]
    )
    all_labels = np.concatenate([labels[rows], digits]).astype(np.int64)
    return GlyphBank(
        fields,
        all_labels,
        tuple(np.flatnonzero(all_labels == digit) for digit in range(10)),
        images,
        tuple(np.flatnonzero(labels == digit) for digit in range(10)),
    )


def thin(images: Images) -> npt.NDArray[np.bool_]:
    """Reduce strokes to lines of one pixel: (N, 28, 28) -> bool (N, 64, 64).

    Source: Zhang and Suen 1984, "A Fast Parallel Algorithm for Thinning Digital Patterns".
    """
    lines = np.stack([_enlarge(image) for image in images])
    for start in range(0, len(lines), _THIN_BATCH):
        _thin_in_place(lines[start : start + _THIN_BATCH])
    return lines


_THIN_BATCH = 64  # images that fit into a processor's cache


def _enlarge(image: Images) -> npt.NDArray[np.bool_]:
    side = HEIGHT * 28 // 20
    large = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
    padding = (SIDE - side) // 2
    padded = np.zeros((SIDE, SIDE), dtype=bool)
    padded[padding : padding + side, padding : padding + side] = large > 110
    return padded


def _removable() -> npt.NDArray[np.bool_]:
    """(2, 256): which neighbourhoods of a pixel let each half of an iteration remove it."""
    table = np.zeros((2, 256), dtype=bool)
    for code in range(256):
        around = [code >> bit & 1 for bit in range(8)]  # clockwise, from the pixel above
        changes = sum(not a and b for a, b in zip(around, around[1:] + around[:1], strict=True))
        if changes == 1 and 2 <= sum(around) <= 6:
            up, right, down, left = around[::2]
            table[0, code] = not (up and right and down) and not (right and down and left)
            table[1, code] = not (up and right and left) and not (up and down and left)
    return table


_REMOVABLE = _removable()
_AROUND = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


def _thin_in_place(lines: npt.NDArray[np.bool_]) -> None:
    pixels = lines.view(np.uint8)
    while True:
        has_changed = False
        for table in _REMOVABLE:
            code = np.zeros_like(pixels)
            for bit, (row, column) in enumerate(_AROUND):
                code |= np.roll(pixels, (-row, -column), axis=(1, 2)) << bit
            removed = lines & table[code]
            if removed.any():
                lines &= ~removed
                has_changed = True
        if not has_changed:
            return


def distances(line: npt.NDArray[np.bool_]) -> Fields:
    """The field of a line, bool (64, 64)."""
    exact = cv2.distanceTransform((~line).astype(np.uint8), cv2.DIST_L2, 5)
    stored: Fields = np.minimum(exact * DISTANCE_UNIT, 255).astype(np.uint8)
    return stored


def _draw_template(digit: int, generator: np.random.Generator) -> Fields:
    lines, aspect = strokes.draw(digit, generator)
    return draw_lines(lines, aspect)


def draw_lines(lines: list[strokes.Points], aspect: float) -> Fields:
    """The field of polylines in a box of height 1 and width `aspect`."""
    canvas = np.zeros((SIDE, SIDE), dtype=np.uint8)
    size = np.array([aspect, 1.0]) * HEIGHT / max(1.0, aspect)
    for points in lines:
        pixels = ((points - 0.5) * size + SIDE / 2) * 16
        cv2.polylines(canvas, [pixels.round().astype(np.int32)], False, 1, 1, cv2.LINE_8, 4)
    return distances(canvas.astype(bool))
