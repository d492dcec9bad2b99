"""Pictures: what is on them, and that nothing a person calls things breaks them."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mnistctl.evaluation import plots
from mnistctl.models.predictor import Outputs
from mnistctl.run.epoch import Epoch

BLUE, VERMILLION = (0, 114, 178), (213, 94, 0)


def opened(png: bytes) -> npt.NDArray[np.uint8]:
    """A picture's pixels, uint8 (height, width, 3)."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def share(png: bytes, colour: tuple[int, int, int]) -> float:
    """Of a picture's pixels, how many have just this colour."""
    return float((opened(png) == np.array(colour)).all(axis=2).mean())


def epochs(count: int, *, validation: bool = True) -> list[Epoch]:
    return [
        Epoch(
            epoch=number,
            steps=10 * number,
            train_loss=1 / number,
            train_accuracy=1 - 0.2 / number,
            validation_loss=0.9 / number if validation else None,
            validation_accuracy=1 - 0.3 / number if validation else None,
            learning_rate=0.1,
            train_seconds=float(number),
            finished=True,
        )
        for number in range(1, count + 1)
    ]


def outputs(labels: list[int], *, classes: int = 3) -> Outputs:
    """Answers that are sure of these labels."""
    logits = np.full((len(labels), classes), -4, dtype=np.float32)
    logits[np.arange(len(labels)), labels] = 4
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Outputs(logits, probabilities, probabilities.max(axis=1))


def sheet(labels: list[int], answered: list[int], names: list[str] | None = None) -> bytes:
    images = np.zeros((len(labels), 28, 28), dtype=np.uint8)
    images[:, 8:20, 12:16] = 255
    return plots.answers(
        images, np.array(labels), outputs(answered), names or ["0", "1", "2"], title="a sheet"
    )


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_curves_show_train_and_validation_in_two_colours(count: int) -> None:
    png = plots.curves([("run", epochs(count))], title="run")

    height, width, _ = opened(png).shape
    assert width > 2 * height
    assert share(png, BLUE) > 1e-4
    assert share(png, VERMILLION) > 1e-4


def test_without_validation_there_is_one_curve() -> None:
    png = plots.curves([("run", epochs(3, validation=False))], title="run")

    assert share(png, BLUE) > 1e-4
    assert share(png, VERMILLION) == 0


def test_several_runs_lie_over_one_another() -> None:
    png = plots.curves([("a", epochs(3)), ("b", epochs(5)), ("c", epochs(2))], title="3 runs")

    for colour in plots._COLOURS[:3]:
        red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
        assert share(png, (red, green, blue)) > 1e-4


def test_runs_of_one_name_are_as_many_in_the_legend() -> None:
    one = plots.curves([("a", epochs(3)), ("b", epochs(4))], title="")
    same = plots.curves([("a", epochs(3)), ("a", epochs(4))], title="")

    assert opened(one).shape == opened(same).shape
    assert share(same, BLUE) == pytest.approx(share(one, BLUE), rel=0.05)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("short", "short"), ("an-experiment-of-some-length-seed1", "an-experime…length-seed1")],
)
def test_a_long_name_keeps_its_end(name: str, expected: str) -> None:
    assert plots.short(name) == expected


def test_right_and_wrong_answers_are_told_apart() -> None:
    right, wrong = sheet([0, 1, 2], [0, 1, 2]), sheet([0, 1, 2], [1, 2, 0])

    assert share(right, BLUE) > 1e-3
    assert share(right, VERMILLION) == 0
    assert share(wrong, VERMILLION) > 1e-3
    assert share(wrong, BLUE) == 0


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 40])
def test_a_sheet_has_room_for_any_number_of_images(count: int) -> None:
    assert opened(sheet([0] * count, [0] * count)).shape[0] > 100


def test_a_confusion_matrix_makes_one_mistake_in_a_hundred_visible() -> None:
    clean, counts = np.diag([100, 100, 100]), np.diag([100, 99, 100])
    counts[1, 2] = 1

    pictures = [
        opened(plots.confusion(matrix, ["a", "b", "c"], title="")) for matrix in (clean, counts)
    ]

    difference = np.abs(pictures[0].astype(int) - pictures[1]).max(axis=2)
    assert (difference > 20).mean() > 0.01


@pytest.mark.parametrize(
    "names",
    [
        ["$x", "<b>[bold]", "数字"],
        ["a" * 300, "", "c"],
        ["T-shirt/top", "Ankle boot", "Trouser"],
    ],
)
def test_any_name_of_a_class_can_be_drawn(names: list[str]) -> None:
    counts = np.diag([5, 6, 7])

    for png in (
        plots.confusion(counts, names, title="$\\frac{"),
        sheet([0, 1, 2], [0, 2, 2], names),
        plots.sample_sheet([(name, np.zeros((2, 28, 28), np.uint8)) for name in names], title="$"),
        plots.curves([(name, epochs(2)) for name in names], title="$"),
    ):
        assert 200 < opened(png).shape[1] < 4000


def test_a_hundred_classes_still_make_a_picture() -> None:
    counts: Any = np.eye(100, dtype=np.int64) * 3

    assert opened(plots.confusion(counts, [str(i) for i in range(100)], title="")).shape[0] < 5000


def test_a_class_without_images_is_no_division_by_zero() -> None:
    counts = np.array([[0, 0], [1, 3]])

    assert len(plots.confusion(counts, ["a", "b"], title=""))


@pytest.mark.parametrize(
    ("value", "expected"), [(100, "100%"), (99.97, "99.9%"), (99, "99.0%"), (0.09, "0.1%")]
)
def test_a_hundred_per_cent_is_all_of_them(value: float, expected: str) -> None:
    assert plots.percent(value) == expected
