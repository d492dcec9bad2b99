"""The sheet on which a page is written: digits, letters and marks in the hand of a writer."""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mnistctl.pages import glyphs, paper, strokes, templates
from mnistctl.pages.camera import Ink
from mnistctl.pages.glyphs import DISTANCE_UNIT, HEIGHT, SIDE, Fields, GlyphBank

_EDGE_PEN = 0.25  # width of the pen that goes round a shape that has width / that of the hand
_INK = 0.35  # ink from which a pixel counts for a digit's box
_LABELLED = 0.75  # share of a digit's box that must be on the page, or it is to be ignored
_MARKED = 0.35  # the same; with less it is not even ignored

# Letters that nobody takes for a digit.
_LETTERS = "acdefjkmnrvwxAEFHJKLMNRTUVWX&@%§€£?!ä"
_FONT_LETTERS = 0.7  # share of letters that are those of fonts


class Hand(NamedTuple):
    """What all digits of one writer have in common."""

    pen: float  # width of the strokes in pixels
    softness: float  # width of their edges in pixels
    slant: float  # pixels sideways per pixel of height
    aspect: float  # factor of all widths
    zero_size: float  # height of a zero / height of the other digits
    zero_place: float  # of a smaller zero: 0 = at the top of the line, 1 = at its bottom
    joins_zeros: bool  # zeros are written without lifting the pen
    raw_share: float  # share of digits with the strokes of the dataset's image
    unsteadiness: float  # pixels of distortion per pixel of height


def draw_hand(height: float, generator: np.random.Generator) -> Hand:
    """The hand of a writer whose digits are `height` pixels high."""
    return Hand(
        pen=max(1.0, height * float(np.exp(generator.uniform(np.log(0.035), np.log(0.17))))),
        softness=float(generator.uniform(0.7, 1.8)) * max(1.0, height / 50),
        slant=float(generator.normal(0.1, 0.16)),
        aspect=float(np.exp(generator.normal(0, 0.16))),
        zero_size=float(generator.uniform(0.4, 1)) if generator.random() < 0.35 else 1.0,
        zero_place=float(generator.choice([1.0, generator.random()], p=[0.7, 0.3])),
        joins_zeros=bool(generator.random() < 0.25),
        raw_share=float(generator.choice([0.0, 0.25, 1.0], p=[0.5, 0.3, 0.2])),
        unsteadiness=float(max(0, generator.uniform(-0.02, 0.035))),
    )


class Canvas:
    """The ink of a page that is being composed, and where its digits are.

    Characters are written with their upper left corner at (x, y), in pixels. A method that writes
    returns the right edge of what it has written.
    """

    def __init__(
        self, rows: int, columns: int, bank: GlyphBank, generator: np.random.Generator
    ) -> None:
        self.ink: Ink = np.zeros((rows, columns), dtype=np.float32)
        self.boxes: list[tuple[float, float, float, float]] = []  # left, top, right, bottom
        self.labels: list[int] = []  # -1: part of a digit
        self.bank, self.generator = bank, generator

    def write_digit(self, digit: int, x: float, y: float, height: float, hand: Hand) -> float:
        """Write a digit."""
        bank, generator = self.bank, self.generator
        if generator.random() < hand.raw_share:
            row = generator.choice(bank.image_rows[digit])
            patch = self._warp(np.pad(bank.images[row], 4), 20, height, hand) / 255.0
        else:
            row = generator.choice(bank.rows[digit])
            patch = self._trace(bank.fields[row], height, hand, has_width=bank.has_width[row])
        return self._place(patch, x, y, height, digit)

    def write_letter(self, x: float, y: float, height: float, hand: Hand) -> float:
        """Write a letter that does not look like a digit."""
        letters = self.bank.letters
        has_width = self.generator.random() < _FONT_LETTERS
        if has_width:
            field = letters[self.generator.integers(len(letters))]
        else:
            field = _letter(str(self.generator.choice(list(_LETTERS))), self.generator)
        return self.draw(field, x, y, height, hand, has_width=has_width)

    def write_marks(self, marks: str, x: float, y: float, height: float, hand: Hand) -> float:
        """Write marks such as a point and a dash."""
        for mark in marks:
            field = glyphs.draw_lines(*strokes.draw_mark(mark, self.generator))
            x = self.draw(field, x, y, height, hand)
            x += self.generator.uniform(0, 0.15) * height
        return x

    def join(self, x: float, y: float, height: float, hand: Hand) -> float:
        """Draw the stroke that leads from a zero to what follows it."""
        field = glyphs.draw_lines(*strokes.draw_mark(templates.JOIN, self.generator))
        return self.draw(field, x - 0.15 * height, y, height, hand)

    def draw(
        self, field: Fields, x: float, y: float, height: float, hand: Hand, *, has_width: bool = False
    ) -> float:
        """Draw something that is no digit."""
        return self._place(self._trace(field, height, hand, has_width=has_width), x, y, height, None)

    def crop(self) -> None:
        """Keep the part of the page around its digits, as a picture of one number shows it."""
        boxes = np.array(self.boxes)
        height = np.median(boxes[:, 3] - boxes[:, 1])
        space = self.generator.uniform(-0.02, 0.4, 4) * height
        rows, columns = self.ink.shape
        start = np.maximum(boxes[:, :2].min(axis=0) - space[:2], 0).astype(int)
        end = np.minimum(np.ceil(boxes[:, 2:].max(axis=0) + space[2:]), (columns, rows)).astype(int)
        self.ink = self.ink[start[1] : end[1], start[0] : end[0]].copy()
        moved = np.clip(boxes - np.tile(start, 2), 0, np.tile(end - start, 2))
        self.boxes = [(left, top, right, bottom) for left, top, right, bottom in moved.tolist()]

    def _trace(self, field: Fields, height: float, hand: Hand, *, has_width: bool) -> Ink:
        """The ink of a pen that follows a line, or goes round a shape that has width already."""
        distance = self._warp(field, HEIGHT, height, hand, outside=255) / DISTANCE_UNIT
        width = hand.pen * (_EDGE_PEN if has_width else 1)
        distance *= height / HEIGHT
        ink: Ink = np.clip((width / 2 - distance) / hand.softness + 0.5, 0, 1)
        return ink

    def _warp(
        self,
        source: npt.NDArray[np.uint8],
        source_height: float,
        height: float,
        hand: Hand,
        *,
        outside: int = 0,
    ) -> Ink:
        """A square around a glyph, scaled so that the glyph is `height` pixels high, and distorted."""
        generator = self.generator
        side = int(height * 1.9) + 4
        scale = source_height / height
        angle = generator.normal(0, 0.06)
        slant = hand.slant + generator.normal(0, 0.05)
        narrowing = 1 / (hand.aspect * float(np.exp(generator.normal(0, 0.06))))
        cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
        matrix = np.array([[narrowing * cosine, narrowing * (slant * cosine - sine)], [sine, cosine]])
        offset = source.shape[0] / 2 - 0.5 - matrix @ np.full(2, side / 2 - 0.5)
        column, row = np.meshgrid(np.arange(side), np.arange(side))
        coarse = generator.normal(0, hand.unsteadiness * source_height, (2, 4, 4)).astype(np.float32)
        bends = [cv2.resize(part, (side, side), interpolation=cv2.INTER_CUBIC) for part in coarse]
        maps = [
            (across * column + down * row + start + bend).astype(np.float32)
            for (across, down), start, bend in zip(matrix, offset, bends, strict=True)
        ]
        patch: Ink = cv2.remap(
            source, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=outside
        ).astype(np.float32)
        return patch

    def _place(self, patch: Ink, x: float, y: float, height: float, label: int | None) -> float:
        """Put the ink of a glyph on the page, its box's left edge at x; return the right edge."""
        is_ink = patch > _INK
        columns, rows = np.flatnonzero(is_ink.any(axis=0)), np.flatnonzero(is_ink.any(axis=1))
        if not len(columns):
            return x
        left, right = int(columns[0]), int(columns[-1]) + 1
        start_x = round(x) - left
        start_y = round(y + height / 2 - len(patch) / 2)
        box = (left + start_x, int(rows[0]) + start_y, right + start_x, int(rows[-1]) + 1 + start_y)
        page_rows, page_columns = self.ink.shape
        y0, y1 = max(start_y, 0), min(start_y + len(patch), page_rows)
        x0, x1 = max(start_x, 0), min(start_x + patch.shape[1], page_columns)
        if y0 < y1 and x0 < x1:
            area = self.ink[y0:y1, x0:x1]
            shown = patch[y0 - start_y : y1 - start_y, x0 - start_x : x1 - start_x]
            np.maximum(area, shown, out=area)
            if label is not None:
                self._mark(box, label)
        return float(start_x + right)

    def _mark(self, box: tuple[int, int, int, int], label: int) -> None:
        """Note the part of a digit's box that is on the page, if it is enough."""
        rows, columns = self.ink.shape
        left, top = max(box[0], 0), max(box[1], 0)
        right, bottom = min(box[2], columns), min(box[3], rows)
        area = max(right - left, 0) * max(bottom - top, 0)
        share = area / max((box[2] - box[0]) * (box[3] - box[1]), 1)
        if share > _MARKED:
            self.boxes.append((left, top, right, bottom))
            self.labels.append(label if share > _LABELLED else -1)


def _letter(text: str, generator: np.random.Generator) -> Fields:
    """A letter in one of OpenCV's fonts, which have lines without width."""
    line = np.zeros((SIDE, SIDE), dtype=np.uint8)
    font = int(generator.choice(paper.FONTS))
    (width, rise), fall = cv2.getTextSize(text, font, 1.0, 1)
    scale = HEIGHT / max(width, rise + fall, 1)
    origin = (int(SIDE / 2 - width * scale / 2), int(SIDE / 2 + rise * scale / 2))
    cv2.putText(line, text, origin, font, scale, 1, 1)
    return glyphs.distances(line.astype(bool))
