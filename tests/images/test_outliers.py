"""Pictures that are none of the classes."""

import ast
from pathlib import Path

import numpy as np
import pytest

from mnistctl.nn import outliers
from mnistctl.types import Images

DIGITS = tuple("0123456789")
MEASURING = Path(__file__).parents[2] / "scripts" / "measure_rejection.py"


@pytest.fixture(scope="module")
def images(digits_test: tuple[Images, object]) -> Images:
    return digits_test[0]


def test_the_same_seed_makes_the_same_pictures(images: Images) -> None:
    first, again, other = (outliers.make(images, DIGITS, 60, seed=seed) for seed in (1, 1, 2))

    assert first.shape == (60, 28, 28)
    assert first.dtype == np.uint8
    assert (first == again).all()
    assert (first != other).any(axis=(1, 2)).mean() > 0.9


def test_no_letters_are_made_where_the_classes_are_words(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[None] = []

    def letter(random: np.random.Generator) -> Images:
        drawn.append(None)
        image: Images = images[0]
        return image

    monkeypatch.setattr(outliers, "_letter", letter)

    outliers.make(images, ("shirt", "coat"), 40, seed=0)
    assert not drawn
    outliers.make(images, DIGITS, 40, seed=0)
    assert drawn


def test_blank_images_to_make_pictures_of_are_no_trouble() -> None:
    made = outliers.make(np.zeros((3, 28, 28), dtype=np.uint8), DIGITS, 80, seed=0)

    assert made.shape == (80, 28, 28)


def test_every_letter_has_a_form_and_looks_like_none_of_the_digits() -> None:
    fonts_of: dict[str, int] = {}
    for _, letter in outliers._forms():
        fonts_of[letter] = fonts_of.get(letter, 0) + 1

    assert set(fonts_of) == set(outliers.LETTERS)
    assert not set(outliers.LETTERS) & set("0123456789BDGIJLOQSZbgijloqsyz")


def test_what_is_measured_on_was_not_fitted_on() -> None:
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
