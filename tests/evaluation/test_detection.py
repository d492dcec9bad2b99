"""What a model for numbers finds on pages, compared with the digits that are there."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mnistctl import datasets
from mnistctl.api import plot
from mnistctl.errors import CheckFailedError, ModelError, UsageError
from mnistctl.evaluation import detection
from mnistctl.evaluation.detection import NumbersReport, ReadPage
from mnistctl.models.predictor import PageOutputs
from mnistctl.pages.compose import Page
from mnistctl.pages.detect import Detections
from mnistctl.types import Images
from tests import detectors
from tests.detectors import Oracle, page

LEFT, MIDDLE, RIGHT = (10, 10, 30, 42), (60, 10, 80, 42), (120, 10, 140, 42)  # boxes

Answers = Sequence[tuple[int, float, Sequence[float]]]


@pytest.fixture
def split() -> datasets.Split:
    return datasets.load("digits", "test")


def measure(
    pages: Sequence[Page],
    answers: Sequence[Answers],
    split: datasets.Split,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[NumbersReport, list[ReadPage]]:
    def compose_pages(_: datasets.Split) -> Iterator[Page]:
        yield from pages

    monkeypatch.setattr(detection, "compose_pages", compose_pages)
    return detection.measure(Oracle(answers), split, model="model")


def test_a_detector_that_finds_every_digit_has_no_errors(
    split: datasets.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = [page((3, LEFT), (7, RIGHT)), page(), page((0, MIDDLE))]
    answers = [[(3, 0.9, LEFT), (7, 0.5, RIGHT)], [], [(0, 0.31, MIDDLE)]]

    report, _ = measure(pages, answers, split, monkeypatch)

    shares = (report.accuracy, report.precision, report.recall, report.f1, report.page_accuracy)
    assert set(shares) == {1}
    assert (report.detection_precision, report.detection_recall) == (1, 1)
    assert (report.pages, report.digits, report.found) == (3, 3, 3)
    assert (report.dataset, report.split, report.threshold) == ("digits", "test", 0.3)
    assert report.not_calibrated is None


def test_wrong_labels_missed_digits_and_false_alarms_are_counted_apart(
    split: datasets.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = [page((3, LEFT), (7, MIDDLE), (1, RIGHT)), page((5, LEFT)), page()]
    answers = [[(3, 0.9, LEFT), (1, 0.8, MIDDLE)], [(5, 0.9, LEFT)], [(8, 0.4, RIGHT)]]

    report, read_pages = measure(pages, answers, split, monkeypatch)

    expected = np.zeros((11, 11), dtype=int)
    expected[3, 3] = expected[5, 5] = 1
    expected[7, 1] = 1  # a wrong label
    expected[1, 10] = 1  # missed
    expected[10, 8] = 1  # a false alarm
    assert report.confusion == expected.tolist()
    assert (report.digits, report.found) == (4, 4)
    assert (report.precision, report.recall, report.f1) == (0.5, 0.5, 0.5)
    assert (report.detection_precision, report.detection_recall) == (0.75, 0.75)
    assert report.accuracy == 2 / 5  # four digits and a false alarm
    assert report.page_accuracy == 1 / 3
    assert report.most_confused == [{"label": "7", "predicted": "1", "digits": 1}]
    assert [read_page.mistakes for read_page in read_pages] == [2, 0, 1]
    assert report.per_class[3] == {"label": "3", "digits": 1, "precision": 1, "recall": 1, "f1": 1}
    assert report.per_class[1] == {"label": "1", "digits": 1, "precision": 0, "recall": 0, "f1": 0}


@pytest.mark.parametrize(("shift", "is_found"), [(0, True), (6, True), (7, False), (12, False)])
def test_a_digit_is_found_if_the_boxes_overlap_by_half_of_their_union(
    shift: int, is_found: bool, split: datasets.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, top, right, bottom = LEFT
    answers = [[(3, 0.9, (left + shift, top, right + shift, bottom))]]

    report, _ = measure([page((3, LEFT))], answers, split, monkeypatch)

    assert report.detection_recall == report.detection_precision == is_found


def test_scores_below_the_threshold_are_ignored(
    split: datasets.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, _ = measure([page()], [[(3, 0.29, LEFT)]], split, monkeypatch)

    assert (report.found, report.page_accuracy) == (0, 1)


def test_a_digit_that_is_found_twice_counts_once(
    split: datasets.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = (LEFT[0] + 4, *LEFT[1:])

    report, _ = measure([page((3, LEFT))], [[(3, 0.9, LEFT), (8, 0.6, beside)]], split, monkeypatch)

    assert (report.found, report.page_accuracy) == (1, 1)


@pytest.mark.parametrize("answers", [[], [(3, 0.9, LEFT)]])
def test_a_digit_that_is_cut_off_counts_neither_as_missed_nor_as_a_false_alarm(
    answers: Answers, split: datasets.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, _ = measure([page((-1, LEFT))], [answers], split, monkeypatch)

    assert (report.digits, report.found, report.page_accuracy) == (0, 0, 1)


def test_the_pages_of_a_split_are_always_the_same(
    split: datasets.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection, "PAGES", 5)

    first, second = [*detection.compose_pages(split)], [*detection.compose_pages(split)]

    assert len(first) == 5
    assert all(np.array_equal(one.image, other.image) for one, other in zip(first, second, strict=True))
    assert sum(len(one.labels) for one in first) > 3


def test_an_accuracy_below_the_minimum_fails_the_check(
    split: datasets.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, _ = measure([page((3, LEFT))], [[(5, 0.9, LEFT)]], split, monkeypatch)

    report.check_min_accuracy(None)
    report.check_min_accuracy(0)
    with pytest.raises(CheckFailedError, match=r"accuracy 0 on pages of digits test is below"):
        report.check_min_accuracy(0.9)


def test_values_that_are_not_finite_are_rejected(
    split: datasets.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="values that are not finite"):
        measure([page()], [[(3, float("nan"), LEFT)]], split, monkeypatch)


def test_an_empty_split_and_other_classes_are_rejected(split: datasets.Split) -> None:
    empty = split.take(np.arange(0), name="test")
    letters = replace(split, class_names=tuple("abcdefghij"))

    with pytest.raises(UsageError, match="the test split of 'digits' is empty"):
        detection.measure(Oracle([]), empty, model="model")
    with pytest.raises(UsageError, match="class 0 is '0' in the model, but 'a' in dataset"):
        detection.measure(Oracle([]), letters, model="model")


def test_the_plots_show_pages_and_errors(
    split: datasets.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = [
        page((3, LEFT), (7, MIDDLE), (1, RIGHT), (-1, (150, 10, 170, 42))),
        page((5, LEFT)),
        page(),
    ]
    answers = [[(3, 0.9, LEFT), (1, 0.8, MIDDLE)], [(5, 0.9, LEFT)], [(8, 0.4, RIGHT)]]
    report, read_pages = measure(pages, answers, split, monkeypatch)

    drawn = plot.draw_pages(Path("plots"), report, read_pages, prefix="test-")

    assert [path.name for path in drawn] == [
        *("test-confusion.png", "test-predictions.png", "test-mistakes.png")
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def test_without_errors_an_older_plot_of_them_is_removed(
    split: datasets.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, read_pages = measure([page((3, LEFT))], [[(3, 0.9, LEFT)]], split, monkeypatch)
    Path("mistakes.png").write_bytes(b"old")

    drawn = plot.draw_pages(Path(), report, read_pages)

    assert [path.name for path in drawn] == ["confusion.png", "predictions.png"]
    assert not Path("mistakes.png").exists()


def test_results_with_another_label_or_place_are_not_equal() -> None:
    def found(*answers: tuple[int, float, Sequence[float]]) -> Detections:
        pages: Images = np.zeros((1, 64, 192), dtype=np.uint8)
        outputs: PageOutputs = detectors.Oracle([answers])(pages)
        return detection.find_digits(outputs, 0.3)[0]

    one = found((3, 0.9, LEFT), (7, 0.9, RIGHT))

    assert detection.are_equal(one, found((7, 0.8, RIGHT), (3, 0.8, LEFT)))
    assert detection.are_equal(found(), found())
    for other in (
        found((3, 0.9, LEFT)),
        found((3, 0.9, LEFT), (1, 0.9, RIGHT)),
        found((3, 0.9, LEFT), (7, 0.9, MIDDLE)),
        found((3, 0.9, LEFT), (7, 0.9, RIGHT), (7, 0.9, MIDDLE)),
    ):
        assert not detection.are_equal(one, other)
