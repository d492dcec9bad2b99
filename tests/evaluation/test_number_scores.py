"""Scores of the strings that were read."""

import pytest

from mnistctl.evaluation.number_scores import Confusion, find_errors, score


@pytest.mark.parametrize(
    ("truth", "text", "errors"),
    [
        ("1984", "1984", []),
        ("1984", "1934", [("8", "3")]),
        ("1984", "194", [("8", "")]),
        ("1984", "19084", [("", "0")]),
        ("1984", "", [("1", ""), ("9", ""), ("8", ""), ("4", "")]),
        ("12", "21", [("1", "2"), ("2", "1")]),
        ("12345", "2346", [("1", ""), ("5", "6")]),
    ],
)
def test_the_fewest_errors_are_found(truth: str, text: str, errors: list[tuple[str, str]]) -> None:
    assert find_errors(truth, text) == errors


def test_scores_count_every_picture() -> None:
    scores = score({("1984", "1984"): 2, ("77", "71"): 3, ("5", ""): 1})

    assert scores.pictures == 6
    assert scores.string_accuracy == pytest.approx(2 / 6)
    assert scores.digit_accuracy == pytest.approx(1 - 4 / 15)
    assert scores.mean_edit_distance == pytest.approx(4 / 6)
    assert scores.confusions == (Confusion("7", "1", 3), Confusion("5", "", 1))


def test_no_pictures_have_no_scores() -> None:
    scores = score({})

    assert (scores.pictures, scores.string_accuracy, scores.digit_accuracy) == (0, None, None)
