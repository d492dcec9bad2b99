"""A picture of several digits is split into its digits."""

import io
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw, ImageFont

from mnistctl import images
from mnistctl.images import decode, segment
from mnistctl.types import Images

Ink = npt.NDArray[np.float32]


def written(*lines: str, gap: int = 18) -> Ink:
    """Lines of text in a plain font, each letter apart, float32 (H, W)."""
    font = ImageFont.load_default(60)
    field = Image.new("L", (700, 110 * len(lines)))
    pen = ImageDraw.Draw(field)
    for number, line in enumerate(lines):
        right = 30.0
        for letter in line:
            pen.text((right, 20 + 110 * number), letter, fill=255, font=font)
            right += pen.textlength(letter, font) + gap
    return np.array(field, dtype=np.float32) / np.float32(255)


def uniform_score(candidates: Images) -> npt.NDArray[np.float64]:
    return np.full(len(candidates), -1.0)


def test_digits_are_in_reading_order() -> None:
    digits = segment.split(written("1984", "70"), uniform_score)

    assert [digit.line for digit in digits] == [0, 0, 0, 0, 1, 1]
    for digit, following in pairwise(digits):
        assert digit.line < following.line or digit.box.left < following.box.left


def test_the_boxes_of_digits_contain_all_ink() -> None:
    ink = written("385")
    digits = segment.split(ink, uniform_score)

    assert len(digits) == 3
    inside = np.zeros(ink.shape, dtype=bool)
    for left, top, width, height in (digit.box for digit in digits):
        assert ink[top : top + height, left : left + width].any(axis=0).all()
        inside[top : top + height, left : left + width] = True
    assert not ink[~inside].any()


def test_a_digit_with_a_broken_stroke_is_one_digit() -> None:
    ink = written("5")
    rows, columns = np.nonzero(ink)
    ink[rows.min() + 9 : rows.min() + 12] = 0  # cut off its bar

    (digit,) = segment.split(ink, uniform_score)

    assert digit.box.height == np.ptp(rows) + 1
    assert digit.box.width == np.ptp(columns) + 1


def test_touching_digits_are_cut_only_if_their_parts_score_higher() -> None:
    two = np.zeros((60, 90), dtype=np.float32)
    two[5:55, 10:40] = two[5:55, 45:75] = 1
    two[13:47, 18:32] = two[13:47, 53:67] = 0  # two rings
    two[28:32, 40:45] = 1  # a bridge between them

    def ring_score(candidates: Images) -> npt.NDArray[np.float64]:
        holes = np.array([image[12:16, 12:16].mean() < 50 for image in candidates])
        return np.where(holes, -0.01, -5.0)

    assert len(segment.split(two, ring_score)) == 2
    assert len(segment.split(two, uniform_score)) == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 2)])
def test_ink_of_any_shape_gives_digits(shape: tuple[int, int]) -> None:
    digits = segment.split(np.ones(shape, dtype=np.float32), uniform_score)

    assert digits
    assert all(digit.image.shape == (28, 28) for digit in digits)


def test_boxes_are_in_the_pixels_of_the_file() -> None:
    small = 255 - np.rint(255 * written("42")).astype(np.uint8)
    picture = Image.fromarray(small).resize((2_100, 330), Image.Resampling.NEAREST)
    content = io.BytesIO()
    picture.save(content, "PNG")

    decoded = decode.read(content.getvalue(), name="picture")
    ink = images.find_ink(decoded, name="picture")
    digits = images.find_digits(decoded, ink, score=uniform_score)
    expected = segment.split(written("42"), uniform_score)

    assert len(digits) == 2
    for digit, reduced in zip(digits, expected, strict=True):
        assert np.abs(np.array(digit.box) - 3 * np.array(reduced.box)).max() <= 8
