"""The plots: their labels and curves, and class names that are hard to draw."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from mnistctl.evaluation import figures, learning_curves, plots
from mnistctl.evaluation.corruptions import CORRUPTIONS
from mnistctl.models.predictor import Outputs
from mnistctl.run.epoch import Epoch


def pixels(figure: Figure) -> npt.NDArray[np.uint8]:
    """The pixels of the PNG, uint8 (height, width, 3)."""
    return np.asarray(Image.open(io.BytesIO(figures.encode(figure))).convert("RGB"))


def colours(figure: Figure, panel: int) -> list[str]:
    """The colours of the curves of a panel, in the order of drawing."""
    return [to_hex(line.get_color()).upper() for line in figure.axes[panel].lines]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


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
    """Outputs that predict these labels with a high probability."""
    logits = np.full((len(labels), classes), -4, dtype=np.float32)
    logits[np.arange(len(labels)), labels] = 4
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Outputs(logits, probabilities, probabilities.max(axis=1))


def sheet(labels: list[int], predicted: list[int], names: list[str] | None = None) -> Figure:
    images = np.zeros((len(labels), 28, 28), dtype=np.uint8)
    images[:, 8:20, 12:16] = 255
    return plots.predictions(
        images, np.array(labels), outputs(predicted), names or ["0", "1", "2"], title="a sheet"
    )


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_curves_show_train_and_validation_in_two_colours(count: int) -> None:
    figure = learning_curves.curves([("run", epochs(count))], title="run")

    height, width, _ = pixels(figure).shape
    assert width > 2 * height
    assert legend(figure) == ["train", "validation"]
    for panel in (0, 1):
        assert colours(figure, panel) == list(figures.COLOURS[:2])
        for line in figure.axes[panel].lines:
            assert np.asarray(line.get_xdata()).tolist() == list(range(1, count + 1))
    accuracy = figure.axes[1].lines[1].get_ydata()
    assert np.asarray(accuracy)[-1] == pytest.approx(100 * (1 - 0.3 / count))


def test_curves_have_labels_with_units() -> None:
    loss, accuracy = learning_curves.curves([("run", epochs(3))], title="run").axes

    assert [axes.get_xlabel() for axes in (loss, accuracy)] == ["epoch", "epoch"]
    assert [axes.get_ylabel() for axes in (loss, accuracy)] == [
        "loss (cross-entropy, nats)",
        "accuracy (%)",
    ]


def test_without_validation_there_is_one_curve() -> None:
    figure = learning_curves.curves([("run", epochs(3, validation=False))], title="run")

    assert legend(figure) == ["train"]
    assert [len(axes.lines) for axes in figure.axes] == [1, 1]


def test_the_curves_of_several_runs_are_overlaid_in_a_colour_per_run() -> None:
    figure = learning_curves.curves(
        [("a", epochs(3)), ("b", epochs(5)), ("c", epochs(2))], title="3 runs"
    )

    assert legend(figure) == ["a", "b", "c", "train", "validation"]
    for panel in (0, 1):  # train and validation of each run
        assert colours(figure, panel) == [colour for colour in figures.COLOURS[:3] for _ in range(2)]


def test_runs_of_the_same_name_have_their_own_legend_entries() -> None:
    figure = learning_curves.curves([("a", epochs(3)), ("a", epochs(4))], title="")

    assert legend(figure) == ["a", "a", "train", "validation"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("short", "short"), ("an-experiment-of-some-length-seed1", "an-experime…length-seed1")],
)
def test_a_long_name_keeps_its_end(name: str, expected: str) -> None:
    assert figures.short(name) == expected


def test_right_and_wrong_predictions_differ_in_colour_and_mark() -> None:
    right, wrong = (sheet([0, 1, 2], predicted) for predicted in ([0, 1, 2], [1, 2, 0]))

    for figure, colour, mark in ((right, figures.RIGHT, "✓"), (wrong, figures.WRONG, "✗")):
        for axes in figure.axes:
            assert axes.title.get_color() == colour
            assert mark in axes.get_title()
            assert to_hex(axes.spines["left"].get_edgecolor()).upper() == colour


def test_a_sheet_shows_true_label_predicted_label_and_probability() -> None:
    (axes,) = sheet([0], [2], ["cat", "dog", "fox"]).axes

    assert axes.get_title() == "cat\n✗ fox 99.9%"


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 40])
def test_a_sheet_has_room_for_any_number_of_images(count: int) -> None:
    figure = sheet([0] * count, [0] * count)

    assert sum(axes.axison and bool(axes.images) for axes in figure.axes) == count
    assert pixels(figure).shape[0] > 100


def test_a_confusion_matrix_makes_one_mistake_in_a_hundred_visible() -> None:
    clean, counts = np.diag([100, 100, 100]), np.diag([100, 99, 100])
    counts[1, 2] = 1

    images = [pixels(plots.confusion(matrix, ["a", "b", "c"], title="")) for matrix in (clean, counts)]

    difference = np.abs(images[0].astype(int) - images[1]).max(axis=2)
    assert (difference > 20).mean() > 0.01


def test_a_confusion_matrix_has_the_true_label_on_its_rows() -> None:
    axes = plots.confusion(np.array([[3, 1], [0, 4]]), ["a", "b"], title="").axes[0]

    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted label", "true label")
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "3\n75.0%", (1, 0): "1\n25.0%", (1, 1): "4\n100%"}


def test_the_reliability_diagram_compares_with_perfect_calibration() -> None:
    bins = [
        {"images": 10, "confidence": 0.55, "accuracy": 0.5},
        {"images": 90, "confidence": 0.98, "accuracy": 0.99},
    ]

    above, below = plots.reliability(bins, title="").axes

    assert above.get_legend_handles_labels()[1] == ["perfect calibration", "model, with 95% interval"]
    assert np.asarray(above.lines[1].get_xydata()) == pytest.approx(np.array([[55, 50], [98, 99]]))
    intervals: Any = above.collections[0]
    few, many = (np.diff(line[:, 1])[0] for line in intervals.get_segments())
    assert few > 50 > 10 > many  # percentage points: an interval of few images is wide
    assert (above.get_ylabel(), below.get_xlabel()) == ("accuracy (%)", "confidence (%)")


def test_the_robustness_plot_shows_every_corruption_and_emphasises_low_accuracies() -> None:
    rows = [
        {
            "corruption": corruption.name,
            "strength": strength,
            "accuracy": 0.5 if corruption.name == "inversion" else 0.97,
        }
        for corruption in CORRUPTIONS
        for strength in corruption.strengths
    ]
    image = np.zeros((28, 28), dtype=np.uint8)

    figure = plots.robustness(rows, image, accuracy=0.99, title="")

    titles = {axes.get_title(): axes.title.get_color() for axes in figure.axes if axes.axison}
    assert titles["original: 99.0%"] == "black"
    assert titles["50.0%"] == figures.WRONG
    assert sum(axes.axison for axes in figure.axes) == len(rows) + len(CORRUPTIONS)


@pytest.mark.parametrize(
    "names",
    [
        ["$x", "<b>[bold]", "数字"],
        ["a" * 300, "", "c"],
        ["T-shirt/top", "Ankle boot", "Trouser"],
        ["\ud800", "\x1b[31m\n\x00", "\udcff$"],
    ],
)
def test_any_class_name_can_be_drawn(names: list[str]) -> None:
    counts = np.diag([5, 6, 7])

    for figure in (
        plots.confusion(counts, names, title="$\\frac{"),
        sheet([0, 1, 2], [0, 2, 2], names),
        plots.samples([(name, np.zeros((2, 28, 28), np.uint8)) for name in names], title="$"),
        learning_curves.curves([(name, epochs(2)) for name in names], title="$"),
    ):
        assert 200 < pixels(figure).shape[1] < 4000


def test_a_confusion_matrix_of_a_hundred_classes_can_be_drawn() -> None:
    counts: Any = np.eye(100, dtype=np.int64) * 3

    figure = plots.confusion(counts, [str(label) for label in range(100)], title="")

    assert pixels(figure).shape[0] < 5000


def test_a_class_without_images_can_be_drawn() -> None:
    counts = np.array([[0, 0], [1, 3]])

    assert len(figures.encode(plots.confusion(counts, ["a", "b"], title="")))


@pytest.mark.parametrize(
    ("value", "expected"), [(100, "100%"), (99.97, "99.9%"), (99, "99.0%"), (0.09, "0.1%")]
)
def test_only_exactly_100_is_written_as_100_percent(value: float, expected: str) -> None:
    assert figures.percent(value) == expected


@pytest.mark.parametrize("suffix", [".png", ".svg", ".PDF"])
def test_the_same_plot_gives_the_same_bytes(suffix: str) -> None:
    first, second = (
        figures.encode(learning_curves.curves([("run", epochs(3))], title="\ud800"), suffix)
        for _ in range(2)
    )

    assert first == second
    assert b"Date" not in first
