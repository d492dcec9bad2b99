"""Corruptions of images."""

import numpy as np
import pytest

from mnistctl.evaluation.corruptions import CORRUPTIONS, Corruption
from mnistctl.types import Images

BY_NAME = {corruption.name: corruption for corruption in CORRUPTIONS}


@pytest.fixture(scope="module")
def images(digits_test: tuple[Images, object]) -> Images:
    return digits_test[0][:40]


def corrupt(name: str, images: Images, strength: float) -> Images:
    return BY_NAME[name].corrupt(images, strength, np.random.default_rng(0))


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.name)
def test_a_corruption_changes_a_copy_and_is_reproducible(
    corruption: Corruption, images: Images
) -> None:
    before = images.copy()

    for strength in corruption.strengths:
        first, again = (
            corruption.corrupt(images, strength, np.random.default_rng(3)) for _ in range(2)
        )

        assert first.shape == images.shape
        assert first.dtype == np.uint8
        assert (first == again).all()
        assert (first != images).any(axis=(1, 2)).mean() > 0.9
    assert (images == before).all()


@pytest.mark.parametrize(
    ("name", "neutral"),
    [("shift", 0), ("rotation", 0), ("scale", 1), ("shear", 0), ("noise", 0), ("contrast", 1)],
)
def test_a_corruption_of_no_strength_changes_nothing(name: str, neutral: float, images: Images) -> None:
    assert (corrupt(name, images, neutral) == images).all()


def test_a_shift_moves_whole_pixels_in_eight_directions() -> None:
    dot = np.zeros((30, 28, 28), dtype=np.uint8)
    dot[:, 13, 10] = 255

    moved = [tuple(np.argwhere(image)[0] - (13, 10)) for image in corrupt("shift", dot, 3)]

    assert set(moved) == {(y, x) for y in (-3, 0, 3) for x in (-3, 0, 3)} - {(0, 0)}


def test_a_rotation_by_90_degrees_is_exact(images: Images) -> None:
    turned = corrupt("rotation", images, 90)

    for image, rotated in zip(images, turned, strict=True):
        differences = [np.abs(rotated.astype(int) - np.rot90(image, times)).max() for times in (1, 3)]
        assert min(differences) <= 1  # Pillow rounds a weight of almost 1


def test_scale_multiplies_the_side_of_the_ink() -> None:
    square = np.zeros((1, 28, 28), dtype=np.uint8)
    square[0, 9:19, 9:19] = 255  # 10 pixels

    assert corrupt("scale", square, 0.6)[0].sum() / 255 == pytest.approx(36, rel=0.05)
    assert corrupt("scale", square, 1.2)[0].sum() / 255 == pytest.approx(144, rel=0.05)


def test_noise_has_the_given_standard_deviation() -> None:
    grey = np.full((20, 28, 28), 128, dtype=np.uint8)

    assert corrupt("noise", grey, 0.1).std() / 255 == pytest.approx(0.1, rel=0.03)


def test_stroke_width_changes_by_whole_pixels() -> None:
    bar = np.zeros((1, 28, 28), dtype=np.uint8)
    bar[0, 5:20, 12:16] = 200  # 4 pixels wide

    widths = {
        pixels: int((corrupt("stroke width", bar, pixels)[0, 12] == 200).sum())
        for pixels in BY_NAME["stroke width"].strengths
    }

    assert widths == {-2: 2, -1: 3, 1: 5, 2: 6}


def test_an_occlusion_is_a_square_of_paper_inside_the_margin() -> None:
    ink = np.full((10, 28, 28), 255, dtype=np.uint8)

    hidden = corrupt("occlusion", ink, 6) == 0

    assert (hidden.sum(axis=(1, 2)) == 36).all()
    assert not hidden[:, :4].any()  # the margin, which has no ink


def test_two_inversions_cancel_each_other(images: Images) -> None:
    assert (corrupt("inversion", corrupt("inversion", images, 1), 1) == images).all()
