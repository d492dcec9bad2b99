"""Compose pages: pictures of handwritten numbers with the box and the label of every digit.

The detector of digits is trained on them and measured on them. A page is decided by a seed alone.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mnistctl.pages import camera, glyphs, paper, strokes
from mnistctl.pages.camera import Ink, Pixels
from mnistctl.pages.glyphs import DISTANCE_UNIT, HEIGHT, SIDE, GlyphBank

# Letters that nobody takes for a digit.
_LETTERS = "acdefjkmnrvwxAEFHJKLMNRTUVWX&@%§€£?!ä"
_ENDINGS = (".-", ".", ",", ":", "=", "-", "–", ".–", ",-", "*", "**", "/", "#", "~", "+")


class Page(NamedTuple):
    """A composed page."""

    image: Pixels  # 0 = paper, 255 = the darkest ink
    boxes: npt.NDArray[np.float32]  # (M, 4): left, top, right, bottom in pixels
    labels: npt.NDArray[np.int64]  # (M,): 0 to 9; -1: part of a digit, to be ignored


@dataclass
class _Canvas:
    """The ink of a page that is being composed."""

    ink: Ink
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)


class Style(NamedTuple):
    """What all numbers of one page have in common."""

    gap: float  # between digits, per height
    letters: float  # share of letters among the digits
    points: float  # share of digits that a point, a comma or a dash follows
    endings: float  # share of numbers that marks follow


class Hand(NamedTuple):
    """What all digits of one writer have in common."""

    pen: float  # width of the strokes in pixels
    softness: float  # width of their edges in pixels
    slant: float  # pixels sideways per pixel of height
    aspect: float  # factor of all widths
    zero_size: float  # height of a zero / height of the other digits
    raw_share: float  # share of digits with the strokes of the dataset's image
    unsteadiness: float  # pixels of distortion per pixel of height


def compose(bank: GlyphBank, seed: tuple[int, ...], *, height: int = 64, width: int = 192) -> Page:
    """A page of digits, or of no digits.

    Args:
        bank: the shapes of the digits.
        seed: decides everything.
        height: of the page in pixels.
        width: of the page in pixels.
    """
    generator = np.random.default_rng(seed)
    top, bottom, left, right = _margins(height, width, generator)
    canvas = _Canvas(np.zeros((height - top - bottom, width - left - right), dtype=np.float32))
    kind = generator.random()
    if kind < 0.74:
        _write_lines(canvas, bank, generator)
    elif kind < 0.86:
        _scatter(canvas, bank, generator)
    else:
        _draw_no_digits(canvas, generator)
    if top and canvas.boxes and generator.random() < 0.4:
        _crop(canvas, generator)
    sheet = paper.print_paper(canvas.ink.shape, generator)
    picture = camera.photograph(canvas.ink, sheet, generator)
    image = np.zeros((height, width), dtype=np.uint8)
    image[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    boxes = np.array(canvas.boxes, dtype=np.float32).reshape(-1, 4)
    boxes += np.array([left, top, left, top], dtype=np.float32)
    return Page(image, boxes, np.array(canvas.labels, dtype=np.int64))


def _margins(height: int, width: int, generator: np.random.Generator) -> tuple[int, int, int, int]:
    """Pixels above, below, left and right of a picture that is smaller than the page."""
    if generator.random() < 0.45:
        return 0, 0, 0, 0
    top, left = generator.integers(4, 13, 2)
    bottom = generator.integers(0, 20)
    right = generator.integers(4, max(width // 2, 12)) if generator.random() < 0.6 else left
    return int(top), int(bottom), int(left), int(right)


def _crop(canvas: _Canvas, generator: np.random.Generator) -> None:
    """Keep the part of the page around its digits, as a picture of one number shows it."""
    boxes = np.array(canvas.boxes)
    height = np.median(boxes[:, 3] - boxes[:, 1])
    space = generator.uniform(-0.02, 0.4, 4) * height
    rows, columns = canvas.ink.shape
    start = np.maximum(boxes[:, :2].min(axis=0) - space[:2], 0).astype(int)
    end = np.minimum(np.ceil(boxes[:, 2:].max(axis=0) + space[2:]), (columns, rows)).astype(int)
    canvas.ink = canvas.ink[start[1] : end[1], start[0] : end[0]].copy()
    moved = np.clip(boxes - np.tile(start, 2), 0, np.tile(end - start, 2))
    canvas.boxes = [(left, top, right, bottom) for left, top, right, bottom in moved.tolist()]


def _sizes(canvas: _Canvas) -> tuple[float, float]:
    """The least and the greatest height of digits that suits a page: at most some 200 fit on it."""
    rows, columns = canvas.ink.shape
    least = max(13.0, float(np.sqrt(rows * columns / 240)))
    return least, max(least, min(0.95 * rows, max(60.0, 2.5 * least)))


def _draw_size(least: float, greatest: float, generator: np.random.Generator) -> float:
    return float(np.exp(generator.uniform(np.log(least), np.log(greatest))))


def _hand(height: float, generator: np.random.Generator) -> Hand:
    return Hand(
        pen=max(1.0, height * _draw_size(0.035, 0.17, generator)),
        softness=float(generator.uniform(0.7, 1.8)) * max(1.0, height / 50),
        slant=float(generator.normal(0.1, 0.16)),
        aspect=float(np.exp(generator.normal(0, 0.16))),
        zero_size=float(generator.uniform(0.5, 1)) if generator.random() < 0.25 else 1.0,
        raw_share=float(generator.choice([0.0, 0.25, 1.0], p=[0.5, 0.3, 0.2])),
        unsteadiness=float(max(0, generator.uniform(-0.02, 0.035))),
    )


def _write_lines(canvas: _Canvas, bank: GlyphBank, generator: np.random.Generator) -> None:
    """One or more lines of numbers, with letters and marks between them."""
    rows, columns = canvas.ink.shape
    height = _draw_size(*_sizes(canvas), generator)
    hand = _hand(height, generator)
    pitch = height * generator.uniform(1.05, 2.0)
    tilt = generator.normal(0, 0.03) if generator.random() < 0.8 else generator.uniform(-0.15, 0.15)
    is_page = generator.random() < (0.3 if rows < 3 * height else 0.7)
    start = (-0.3 * height, 0.6 * pitch) if is_page else (-0.05 * rows, 1.05 * (rows - height))
    top = generator.uniform(min(start), max(start))
    style = Style(
        gap=generator.choice(
            [generator.normal(-0.03, 0.05), generator.uniform(0, 0.25), generator.uniform(0.2, 0.8)],
            p=[0.35, 0.45, 0.2],
        ),
        letters=generator.choice([0.0, 0.08, 0.3], p=[0.6, 0.25, 0.15]),
        points=generator.choice([0.0, 0.12, 0.3], p=[0.4, 0.35, 0.25]),
        endings=generator.choice([0.0, 0.4], p=[0.5, 0.5]),
    )
    while top < rows - 0.2 * height:
        x = generator.uniform(-0.5, 1.0) * height
        to_edge = generator.random() < 0.4
        end = columns + 0.3 * height if to_edge else generator.uniform(0.3, 1.0) * columns
        while x < end:
            y = top + tilt * (x - columns / 2)
            x = _write_number(canvas, bank, (x, y), end, height, hand, style, generator)
            x += generator.uniform(0.3, 1.8) * height
        if not is_page:
            break
        top += pitch * generator.uniform(0.9, 1.1)


def _write_number(
    canvas: _Canvas,
    bank: GlyphBank,
    start: tuple[float, float],
    end: float,
    height: float,
    hand: Hand,
    style: Style,
    generator: np.random.Generator,
) -> float:
    """Write digits from `start`, left and top, and what follows them; return the right edge."""
    x, top = start
    digit = int(generator.integers(0, 10))
    while x < end:
        size = height * float(np.exp(generator.normal(0, 0.07)))
        y = top + generator.normal(0, 0.05) * height
        if generator.random() < style.letters:
            x = _write_letter(canvas, x, y, size, hand, generator)
        else:
            if generator.random() > (0.4 if digit == 0 else 0.12):  # else such as 00 and 11
                digit = int(generator.integers(0, 10))
            if digit == 0:
                y, size = y + (1 - hand.zero_size) * size, hand.zero_size * size
            x = _write_digit(canvas, bank, digit, x, y, size, hand, generator)
        if generator.random() < style.points:
            mark = str(generator.choice(list(".,.,.'-")))
            x = _write_marks(canvas, mark, x + 0.05 * height, y, size, hand, generator)
        x += (style.gap + generator.normal(0, 0.03)) * height
        if generator.random() < 0.08:
            break
    if generator.random() < style.endings:
        marks = str(generator.choice(_ENDINGS))
        x = _write_marks(canvas, marks, x + 0.1 * height, top, height, hand, generator)
    return x


def _scatter(canvas: _Canvas, bank: GlyphBank, generator: np.random.Generator) -> None:
    """Digits of different sizes and hands in any place."""
    rows, columns = canvas.ink.shape
    least, greatest = _sizes(canvas)
    taken = np.zeros((rows, columns), dtype=bool)
    for _ in range(int(generator.integers(2, 9))):
        height = _draw_size(least, greatest, generator)
        x = float(generator.uniform(0, max(columns - 0.5 * height, 1)))
        y = float(generator.uniform(0, max(rows - height, 1)))
        area = np.s_[int(y) : int(y + height), int(x) : int(x + height)]
        if taken[area].any():
            continue
        taken[area] = True
        hand = _hand(height, generator)
        kind = generator.random()
        if kind < 0.15:
            _write_letter(canvas, x, y, height, hand, generator)
        elif kind < 0.3:
            _write_marks(canvas, _any_mark(generator), x, y, height, hand, generator)
        else:
            _write_digit(canvas, bank, int(generator.integers(0, 10)), x, y, height, hand, generator)


def _draw_no_digits(canvas: _Canvas, generator: np.random.Generator) -> None:
    """Letters, marks, doodles, things, or nothing."""
    rows, columns = canvas.ink.shape
    kind = generator.random()
    if kind < 0.4:
        height = _draw_size(12, rows, generator)
        hand = _hand(height, generator)
        y = generator.uniform(0, max(rows - height, 1))
        x = generator.uniform(0, height)
        while x < columns:
            if generator.random() < 0.2:
                x = _write_marks(canvas, _any_mark(generator), x, y, height, hand, generator)
            else:
                x = _write_letter(canvas, x, y, height, hand, generator)
            x += generator.uniform(-0.05, 0.4) * height
    elif kind < 0.7:
        for _ in range(int(generator.integers(1, 6))):
            height = float(generator.uniform(10, rows))
            hand = _hand(height, generator)
            x, y = generator.uniform(0, columns - 10), generator.uniform(0, rows - 8)
            _draw_field(canvas, _doodle(generator), float(x), float(y), height, hand, generator)
    elif kind < 0.9:
        _draw_things(canvas, generator)


def _draw_things(canvas: _Canvas, generator: np.random.Generator) -> None:
    """Shades of things in a photograph: discs, boxes and bars."""
    rows, columns = canvas.ink.shape
    picture = np.full((rows, columns), int(generator.integers(0, 200)), dtype=np.uint8)
    for _ in range(int(generator.integers(2, 14))):
        shade = int(generator.integers(0, 256))
        ends = generator.uniform(-0.2, 1.2, (2, 2)) * (columns, rows)
        start, end = [(int(x), int(y)) for x, y in ends]
        width = int(generator.choice([-1, 1, 2, 4, 8]))
        kind = generator.integers(0, 3)
        if kind == 0:
            radii = (abs(end[0] - start[0]) // 3 + 1, abs(end[1] - start[1]) // 2 + 1)
            angle = float(generator.uniform(0, 180))
            cv2.ellipse(picture, start, radii, angle, 0, 360, shade, width, cv2.LINE_AA)
        elif kind == 1:
            cv2.rectangle(picture, start, end, shade, width)
        else:
            cv2.line(picture, start, end, shade, abs(width), cv2.LINE_AA)
    np.maximum(canvas.ink, picture.astype(np.float32) / 255, out=canvas.ink)


def _doodle(generator: np.random.Generator) -> glyphs.Fields:
    """A curve that is no digit; some look like loops, zigzags or ticks."""
    lines = []
    for _ in range(int(generator.integers(1, 4))):
        count = int(generator.integers(3, 9))
        points = generator.uniform(0, 1, (count, 2))
        if generator.random() < 0.3:  # a zigzag or a wave
            points[:, 0] = np.linspace(0, 1, count)
            points[:, 1] = (np.arange(count) % 2) * generator.uniform(0.1, 1)
        lines.append(strokes.smooth(points) if generator.random() < 0.7 else points)
    return glyphs.draw_lines(lines, float(generator.uniform(0.5, 2)))


def _write_digit(
    canvas: _Canvas,
    bank: GlyphBank,
    digit: int,
    x: float,
    y: float,
    height: float,
    hand: Hand,
    generator: np.random.Generator,
) -> float:
    """Write a digit with its upper left corner at (x, y); return its right edge."""
    if generator.random() < hand.raw_share:
        row = generator.choice(bank.image_rows[digit])
        source = np.pad(bank.images[row], 4)
        patch = _warp(source, 20, height, hand, generator) / 255.0
    else:
        source = bank.fields[generator.choice(bank.rows[digit])]
        distance = _warp(source, HEIGHT, height, hand, generator, outside=255) / DISTANCE_UNIT
        patch = _pen(distance * (height / HEIGHT), hand)
    return _place(canvas, patch, x, y, height, digit)


def _any_mark(generator: np.random.Generator) -> str:
    return str(generator.choice(list(strokes.MARKS)))


def _write_marks(
    canvas: _Canvas,
    marks: str,
    x: float,
    y: float,
    height: float,
    hand: Hand,
    generator: np.random.Generator,
) -> float:
    """Write marks such as a point and a dash; return their right edge."""
    for mark in marks:
        source = glyphs.draw_lines(*strokes.draw_mark(mark, generator))
        x = _draw_field(canvas, source, x, y, height, hand, generator)
        x += generator.uniform(0, 0.15) * height
    return x


def _write_letter(
    canvas: _Canvas, x: float, y: float, height: float, hand: Hand, generator: np.random.Generator
) -> float:
    """Write a letter, or now and then a doodle; return its right edge."""
    if generator.random() < 0.12:
        source = _doodle(generator)
    else:
        source = _letter(str(generator.choice(list(_LETTERS))), generator)
    return _draw_field(canvas, source, x, y, height, hand, generator)


def _letter(text: str, generator: np.random.Generator) -> glyphs.Fields:
    line = np.zeros((SIDE, SIDE), dtype=np.uint8)
    font = int(generator.choice(paper.FONTS))
    (width, rise), fall = cv2.getTextSize(text, font, 1.0, 1)
    scale = HEIGHT / max(width, rise + fall, 1)
    origin = (int(SIDE / 2 - width * scale / 2), int(SIDE / 2 + rise * scale / 2))
    cv2.putText(line, text, origin, font, scale, 1, 1)
    return glyphs.distances(line.astype(bool))


def _draw_field(
    canvas: _Canvas,
    source: glyphs.Fields,
    x: float,
    y: float,
    height: float,
    hand: Hand,
    generator: np.random.Generator,
) -> float:
    distance = _warp(source, HEIGHT, height, hand, generator, outside=255) / DISTANCE_UNIT
    return _place(canvas, _pen(distance * (height / HEIGHT), hand), x, y, height, None)


def _pen(distance: Ink, hand: Hand) -> Ink:
    """The ink of a pen that follows a line; `distance` is in pixels of the page."""
    ink: Ink = np.clip((hand.pen / 2 - distance) / hand.softness + 0.5, 0, 1)
    return ink


def _warp(
    source: npt.NDArray[np.uint8],
    source_height: float,
    height: float,
    hand: Hand,
    generator: np.random.Generator,
    *,
    outside: int = 0,
) -> Ink:
    """A square around a glyph, scaled so that the glyph is `height` pixels high, and distorted."""
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
    bends = [cv2.resize(values, (side, side), interpolation=cv2.INTER_CUBIC) for values in coarse]
    maps = [
        (across * column + down * row + start + bend).astype(np.float32)
        for (across, down), start, bend in zip(matrix, offset, bends, strict=True)
    ]
    patch: Ink = cv2.remap(
        source, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=outside
    ).astype(np.float32)
    return patch


def _place(canvas: _Canvas, patch: Ink, x: float, y: float, height: float, label: int | None) -> float:
    """Put the ink of a glyph on the page, its box's left edge at x; return the right edge."""
    is_ink = patch > 0.35
    columns, rows = np.flatnonzero(is_ink.any(axis=0)), np.flatnonzero(is_ink.any(axis=1))
    if not len(columns):
        return x
    left, right = int(columns[0]), int(columns[-1]) + 1
    start_x = round(x) - left
    start_y = round(y + height / 2 - len(patch) / 2)
    top, bottom = int(rows[0]) + start_y, int(rows[-1]) + 1 + start_y
    page_rows, page_columns = canvas.ink.shape
    y0, y1 = max(start_y, 0), min(start_y + len(patch), page_rows)
    x0, x1 = max(start_x, 0), min(start_x + patch.shape[1], page_columns)
    if y0 < y1 and x0 < x1:
        area = canvas.ink[y0:y1, x0:x1]
        np.maximum(area, patch[y0 - start_y : y1 - start_y, x0 - start_x : x1 - start_x], out=area)
        box = (left + start_x, top, right + start_x, bottom)
        if label is not None:
            shown = [max(box[0], 0), max(box[1], 0), min(box[2], page_columns), min(box[3], page_rows)]
            width, tall = max(shown[2] - shown[0], 0), max(shown[3] - shown[1], 0)
            share = width * tall / max((box[2] - box[0]) * (box[3] - box[1]), 1)
            if share > 0.35:
                canvas.boxes.append((shown[0], shown[1], shown[2], shown[3]))
                canvas.labels.append(label if share > 0.85 else -1)
    return float(start_x + right)
