"""Synthetic out-of-distribution images."""

import ast
import csv
import re
from pathlib import Path

import numpy as np
import pytest

from mnistctl.nn import outliers
from mnistctl.types import Images

DIGITS = tuple("0123456789")
MEASURING = Path(__file__).parents[2] / "scripts" / "measure_rejection.py"
FONTS = Path(__file__).parents[2] / "scripts" / "fonts.csv"


@pytest.fixture(scope="module")
def images(digits_test: tuple[Images, object]) -> Images:
    return digits_test[0]


def test_outliers_are_the_same_for_the_same_seed_and_others_for_another(images: Images) -> None:
    first, again, other = (outliers.make(images, DIGITS, 60, seed=seed) for seed in (1, 1, 2))

    assert first.shape == (60, 28, 28)
    assert first.dtype == np.uint8
    assert (first == again).all()
    assert (first != other).any(axis=(1, 2)).mean() > 0.9


def test_letters_are_drawn_only_if_all_classes_are_digits(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[None] = []

    def draw_letter(random: np.random.Generator) -> Images:
        drawn.append(None)
        image: Images = images[0]
        return image

    monkeypatch.setattr(outliers, "_draw_letter", draw_letter)

    outliers.make(images, ("shirt", "coat"), 40, seed=0)
    assert not drawn
    outliers.make(images, DIGITS, 40, seed=0)
    assert drawn


def test_outliers_are_made_from_blank_images_too() -> None:
    strange = outliers.make(np.zeros((3, 28, 28), dtype=np.uint8), DIGITS, 80, seed=0)

    assert strange.shape == (80, 28, 28)


def test_every_outlier_letter_is_in_a_font_and_does_not_look_like_a_digit() -> None:
    fonts_of: dict[str, int] = {}
    for _, letter in outliers._list_glyphs():
        fonts_of[letter] = fonts_of.get(letter, 0) + 1

    assert set(fonts_of) == set(outliers.LETTERS)
    assert not set(outliers.LETTERS) & set("0123456789BDGIJLOQSZbgijloqsyz")


def test_rejection_is_measured_with_other_printed_letters_than_familiarity_is_fitted_with() -> None:
    values = {
        target.id: ast.literal_eval(node.value)
        for node in ast.parse(MEASURING.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.Tuple)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in ("STROKES", "SIGNS")
    }

    assert set(values) == {"STROKES", "SIGNS"}
    assert not set(outliers.LETTERS) & set(values["STROKES"] + values["SIGNS"])
    assert "DejaVu" not in MEASURING.read_text(encoding="utf-8")


def test_no_font_family_is_both_drawn_from_and_measured_with() -> None:
    packages = [
        name.removeprefix("font-")
        for name in re.findall(r'"(font-[a-z-]+)"', MEASURING.read_text(encoding="utf-8"))
    ]
    with FONTS.open(encoding="utf-8", newline="") as file:
        drawn = [row["name"] for row in csv.DictReader(file) if row["use"] == "train"]

    assert len(packages) > 5
    assert len(drawn) > 400
    assert not [name for name in drawn if name in packages]
