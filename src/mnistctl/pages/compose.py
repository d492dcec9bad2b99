"""Compose pages: pictures of handwritten numbers with the box and the label of every digit.

The detector of digits is trained on them and measured on them. A page is decided by a seed alone.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mnistctl.pages import camera, doodles, paper, templates
from mnistctl.pages.camera import Pixels
from mnistctl.pages.canvas import Canvas, Hand, draw_hand
from mnistctl.pages.glyphs import GlyphBank

_ENDINGS = (".-", ".", ",", ":", "=", "-", "–", ".–", ",-", "*", "**", "/", "#", "~", "+")

# Shares of pages: numbers in lines, digits anywhere, and the rest without digits.
_LINES, _SCATTERED = 0.72, 0.11


class Page(NamedTuple):
    """A composed page."""

    image: Pixels  # 0 = paper, 255 = the darkest ink
    boxes: npt.NDArray[np.float32]  # (M, 4): left, top, right, bottom in pixels
    labels: npt.NDArray[np.int64]  # (M,): 0 to 9; -1: part of a digit, to be ignored


class Style(NamedTuple):
    """What all numbers of one page have in common."""

    gap: float  # between digits, per height
    letters: float  # share of letters among the digits
    points: float  # share of digits that a point, a comma or a dash follows
    endings: float  # share of numbers that marks follow


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
    canvas = Canvas(height - top - bottom, width - left - right, bank, generator)
    kind = generator.random()
    if kind < _LINES:
        _write_lines(canvas)
    elif kind < _LINES + _SCATTERED:
        _scatter(canvas)
    else:
        _draw_no_digits(canvas)
    if top and canvas.boxes and generator.random() < 0.5:
        canvas.crop()
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


def _sizes(canvas: Canvas) -> tuple[float, float]:
    """The least and the greatest height of digits that suits a page: at most some 200 fit on it."""
    rows, columns = canvas.ink.shape
    least = max(13.0, math.sqrt(rows * columns / 240))
    return least, max(least, min(0.95 * rows, max(60.0, 2.5 * least)))


def _draw_size(least: float, greatest: float, generator: np.random.Generator) -> float:
    return float(np.exp(generator.uniform(np.log(least), np.log(greatest))))


def _write_lines(canvas: Canvas) -> None:
    """One or more lines of numbers, with letters and marks between them."""
    generator = canvas.generator
    rows, columns = canvas.ink.shape
    height = _draw_size(*_sizes(canvas), generator)
    hand = draw_hand(height, generator)
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
        letters=generator.choice([0.0, 0.08, 0.3], p=[0.7, 0.2, 0.1]),
        points=generator.choice([0.0, 0.12, 0.3], p=[0.4, 0.35, 0.25]),
        endings=generator.choice([0.0, 0.4], p=[0.5, 0.5]),
    )
    while top < rows - 0.2 * height:
        x = generator.uniform(-0.5, 1.0) * height
        to_edge = generator.random() < 0.4
        end = columns + 0.3 * height if to_edge else generator.uniform(0.3, 1.0) * columns
        while x < end:
            y = top + tilt * (x - columns / 2)
            x = _write_number(canvas, (x, y), end, height, hand, style)
            x += generator.uniform(0.3, 1.8) * height
        if not is_page:
            break
        top += pitch * generator.uniform(0.9, 1.1)


def _write_number(
    canvas: Canvas, start: tuple[float, float], end: float, height: float, hand: Hand, style: Style
) -> float:
    """Write digits from `start`, left and top, and what follows them; return the right edge."""
    generator = canvas.generator
    x, top = start
    digit = int(generator.integers(0, 10))
    while x < end:
        size = height * float(np.exp(generator.normal(0, 0.07)))
        y = top + generator.normal(0, 0.05) * height
        if generator.random() < style.letters:
            if generator.random() < 0.15:
                x = canvas.draw(doodles.doodle(generator), x, y, size, hand)
            else:
                x = canvas.write_letter(x, y, size, hand)
        else:
            if generator.random() > (0.4 if digit == 0 else 0.12):  # else such as 00 and 11
                digit = int(generator.integers(0, 10))
            if digit == 0:
                y += hand.zero_place * (1 - hand.zero_size) * size
                size *= hand.zero_size
            x = canvas.write_digit(digit, x, y, size, hand)
            if digit == 0 and hand.joins_zeros:  # the pen goes on: no mark, and no gap
                x = canvas.join(x, y, size, hand) - generator.uniform(0.05, 0.2) * size
                continue
        if generator.random() < style.points:
            mark = str(generator.choice(list(".,.,.'-")))
            x = canvas.write_marks(mark, x + 0.05 * height, y, size, hand)
        x += (style.gap + generator.normal(0, 0.03)) * height
        if generator.random() < 0.08:
            break
    if generator.random() < style.endings:
        marks = str(generator.choice(_ENDINGS))
        x = canvas.write_marks(marks, x + 0.1 * height, top, height, hand)
    return x


def _scatter(canvas: Canvas) -> None:
    """Digits of different sizes and hands in any place."""
    generator = canvas.generator
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
        hand = draw_hand(height, generator)
        kind = generator.random()
        if kind < 0.12:
            canvas.write_letter(x, y, height, hand)
        elif kind < 0.22:
            canvas.draw(doodles.doodle(generator), x, y, height, hand)
        elif kind < 0.32:
            canvas.write_marks(_any_mark(generator), x, y, height, hand)
        else:
            canvas.write_digit(int(generator.integers(0, 10)), x, y, height, hand)


def _draw_no_digits(canvas: Canvas) -> None:
    """Letters, marks, doodles, things, a texture, or nothing."""
    generator = canvas.generator
    rows, columns = canvas.ink.shape
    kind = generator.random()
    if kind < 0.4:
        _write_words(canvas)
    elif kind < 0.75:
        for _ in range(int(generator.integers(1, 5))):
            height = float(generator.uniform(12, 1.1 * rows))
            x = float(generator.uniform(-5, columns - 10))
            y = float(generator.uniform(-4, max(rows - height, 1)))
            canvas.draw(doodles.doodle(generator), x, y, height, draw_hand(height, generator))
    elif kind < 0.95:
        draw = doodles.texture if kind < 0.87 else doodles.things
        np.maximum(canvas.ink, draw(rows, columns, generator), out=canvas.ink)


def _write_words(canvas: Canvas) -> None:
    """Letters and marks in a line, or a single one."""
    generator = canvas.generator
    rows, columns = canvas.ink.shape
    height = _draw_size(12, 1.05 * rows, generator)
    hand = draw_hand(height, generator)
    y = generator.uniform(min(0, rows - height), max(rows - height, 1))
    x = generator.uniform(0, height)
    while x < columns:
        if generator.random() < 0.15:
            x = canvas.write_marks(_any_mark(generator), x, y, height, hand)
        else:
            x = canvas.write_letter(x, y, height, hand)
        if generator.random() < 0.15:
            break
        x += generator.uniform(-0.05, 0.4) * height


def _any_mark(generator: np.random.Generator) -> str:
    return str(generator.choice(list(templates.MARKS)))
