"""Glyphs: the shapes of digits from which pages are composed.

A glyph is stored as a field of distances to its ink, so that it can be drawn at any size. Most glyphs
are lines without width, for a pen of any width: the thinned images of a dataset, as many drawn from
templates, and thinned digits of fonts. The digits of fonts are there with their own strokes too.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mnistctl.pages import fonts, strokes
from mnistctl.types import Images, Labels

SIDE = 64  # pixels of a field
HEIGHT = 44  # pixels of a field that the longer side of a glyph has
DISTANCE_UNIT = 8.0  # a distance of one pixel of the field, as stored

_THIN_BATCH = 64  # images that fit into a processor's cache

Fields = npt.NDArray[np.uint8]  # (N, 64, 64): distances to the line, at most 31.9 pixels


@dataclass(frozen=True)
class GlyphBank:
    """Glyphs by digit."""

    fields: Fields
    labels: Labels  # (N,)
    rows: tuple[npt.NDArray[np.intp], ...]  # of each digit
    has_width: npt.NDArray[np.bool_]  # (N,): the field has the width of its strokes already
    letters: Fields  # letters of fonts, with the width of their strokes
    images: Images  # (M, 28, 28), to be used with their own strokes
    image_rows: tuple[npt.NDArray[np.intp], ...]  # of each digit


def build_bank(
    images: Images,
    labels: Labels,
    *,
    size: int,
    seed: int,
    font_lines: int | None = None,
    font_shapes: int | None = None,
) -> GlyphBank:
    """Glyphs from a dataset's images, as many from templates, and others from fonts.

    Args:
        images: uint8 (N, 28, 28), 0 = paper, 255 = ink.
        labels: int64 (N,), 0 to 9.
        size: the largest number of images to use, of templates to draw, and of letters.
        seed: selects the images and draws the templates.
        font_lines: the largest number of thinned digits of fonts; None: `size`.
        font_shapes: the same of digits of fonts with the width of their strokes.
    """
    generator = np.random.default_rng((seed, 1))
    rows = np.sort(generator.permutation(len(images))[:size])
    digits = generator.integers(0, 10, len(rows))
    handwriting, printed = fonts.load(fonts.HANDWRITING), fonts.load(fonts.PRINT)
    written, written_labels = _select(handwriting.digits, font_lines or size, generator)
    outlined, outlined_labels = _select(
        np.concatenate([handwriting.digits, printed.digits]), font_shapes or size, generator
    )
    letters, _ = _select(handwriting.letters, size, generator)
    fields = np.concatenate(
        [
            _fields(thin(_enlarge(images[rows]))),
            np.stack([_draw_template(int(digit), generator) for digit in digits]),
            _fields(thin(_pad(written))),
            _fields(_pad(outlined)),
        ]
    )
    all_labels = np.concatenate([labels[rows], digits, written_labels, outlined_labels]).astype(
        np.int64
    )
    return GlyphBank(
        fields,
        all_labels,
        tuple(np.flatnonzero(all_labels == digit) for digit in range(10)),
        np.arange(len(fields)) >= len(fields) - len(outlined),
        _fields(_pad(letters)),
        images,
        tuple(np.flatnonzero(labels == digit) for digit in range(10)),
    )


def _select(
    shapes: fonts.Shapes, size: int, generator: np.random.Generator
) -> tuple[fonts.Shapes, npt.NDArray[np.intp]]:
    """Up to `size` characters of a sheet, (N, 44, 44), and the column of each, (N,)."""
    families, characters = shapes.shape[:2]
    chosen = np.sort(generator.permutation(families * characters)[:size])
    return shapes.reshape(-1, fonts.CELL, fonts.CELL)[chosen], chosen % characters


def thin(shapes: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Reduce strokes to lines of one pixel: (N, 64, 64) -> (N, 64, 64).

    Source: Zhang and Suen 1984, "A Fast Parallel Algorithm for Thinning Digital Patterns".
    """
    lines = shapes.copy()
    for start in range(0, len(lines), _THIN_BATCH):
        _thin_in_place(lines[start : start + _THIN_BATCH])
    return lines


def _enlarge(images: Images) -> npt.NDArray[np.bool_]:
    """Where images, uint8 (N, 28, 28), have ink, at the size of a field: (N, 64, 64)."""
    side = HEIGHT * 28 // 20
    large = [cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC) for image in images]
    return _pad(np.stack(large) > 110)


def _pad(shapes: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Shapes in the middle of fields: (N, S, S) -> (N, 64, 64)."""
    space = SIDE - shapes.shape[1]
    return np.pad(shapes, ((0, 0), *[(space // 2, space - space // 2)] * 2))


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


def _fields(lines: npt.NDArray[np.bool_]) -> Fields:
    return np.stack([distances(line) for line in lines])


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
