import io
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw, ImageFont

from mnistctl import images
from mnistctl.images import segment
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


def all_alike(found: Images) -> npt.NDArray[np.float64]:
    return np.full(len(found), -1.0)


def test_digits_come_line_by_line_from_left_to_right() -> None:
    digits = segment.split(written("1984", "70"), all_alike)

    assert [digit.line for digit in digits] == [0, 0, 0, 0, 1, 1]
    for one, other in pairwise(digits):
        assert one.line < other.line or one.box.left < other.box.left


def test_boxes_hold_the_ink_of_their_digits_and_no_other() -> None:
    ink = written("385")
    digits = segment.split(ink, all_alike)

    assert len(digits) == 3
    inside = np.zeros(ink.shape, dtype=bool)
    for _, (left, top, width, height) in [(digit, digit.box) for digit in digits]:
        assert ink[top : top + height, left : left + width].any(axis=0).all()
        inside[top : top + height, left : left + width] = True
    assert not ink[~inside].any()


def test_a_stroke_that_is_broken_stays_one_digit() -> None:
    ink = written("5")
    rows, columns = np.nonzero(ink)
    ink[rows.min() + 9 : rows.min() + 12] = 0  # its bar is apart now

    (digit,) = segment.split(ink, all_alike)

    assert digit.box.height == np.ptp(rows) + 1
    assert digit.box.width == np.ptp(columns) + 1


def test_ink_is_cut_where_the_parts_look_more_like_digits() -> None:
    two = np.zeros((60, 90), dtype=np.float32)
    two[5:55, 10:40] = two[5:55, 45:75] = 1
    two[13:47, 18:32] = two[13:47, 53:67] = 0  # two rings
    two[28:32, 40:45] = 1  # that touch

    def likes_rings(found: Images) -> npt.NDArray[np.float64]:
        holes = np.array([image[12:16, 12:16].mean() < 50 for image in found])
        return np.where(holes, -0.01, -5.0)

    assert len(segment.split(two, likes_rings)) == 2
    assert len(segment.split(two, all_alike)) == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 2)])
def test_ink_of_any_shape_is_divided(shape: tuple[int, int]) -> None:
    digits = segment.split(np.ones(shape, dtype=np.float32), all_alike)

    assert digits
    assert all(digit.image.shape == (28, 28) for digit in digits)


def test_boxes_are_in_the_pixels_of_a_large_picture() -> None:
    small = 255 - np.rint(255 * written("42")).astype(np.uint8)
    picture = Image.fromarray(small).resize((2_100, 330), Image.Resampling.NEAREST)
    content = io.BytesIO()
    picture.save(content, "PNG")

    digits = images.find_digits(content.getvalue(), name="it", score=all_alike)
    expected = segment.split(written("42"), all_alike)

    assert len(digits) == 2
    for digit, other in zip(digits, expected, strict=True):
        assert np.abs(np.array(digit.box) - 3 * np.array(other.box)).max() <= 8
