"""Reading the digits of a picture with a detector that answers with known digits."""

import tracemalloc
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from mnistctl.images.decode import Picture
from mnistctl.models.predictor import Outputs, PageOutputs, PagePredictor
from mnistctl.pages import detect, read
from mnistctl.pages.arrange import have_neighbours
from mnistctl.types import Images

SIDE = 20  # pixels: height of the digits


@dataclass
class FakeClassifier:
    """Gives every image the same answer."""

    label: int
    probability: float = 0.999
    familiarity: float = 0.5
    threads: int = 1

    @property
    def metadata(self) -> Any:
        return SimpleNamespace(threshold=0.3)

    def __call__(self, images: Images) -> Outputs:
        assert images.shape[1:] == (28, 28)
        probabilities = np.full((len(images), 10), (1 - self.probability) / 9, dtype=np.float32)
        probabilities[:, self.label] = self.probability
        familiarity = np.full(len(images), self.familiarity, dtype=np.float32)
        return Outputs(np.log(probabilities), probabilities, familiarity)


@dataclass
class FakeDetector:
    """Finds filled rectangles of 8 to 64 pixels: 1, 4 and 7 are 0.2, 0.5 and 0.8 as wide as high."""

    score: float = 0.8
    threshold: float | None = 0.3
    threads: int = 1
    shapes: list[tuple[int, ...]] = field(default_factory=list)

    @property
    def metadata(self) -> Any:
        return SimpleNamespace(threshold=self.threshold, temperature=1.0)

    def __call__(self, pages: Images) -> PageOutputs:
        assert pages.dtype == np.uint8
        self.shapes.append(pages.shape)
        count, height, width = pages.shape
        scores = np.zeros((count, 10, height // 4, width // 4), dtype=np.float32)
        boxes = np.zeros((count, 4, height // 4, width // 4), dtype=np.float32)
        for index, page in enumerate(pages):
            _, _, stats, centres = cv2.connectedComponentsWithStats((page > 127).astype(np.uint8))
            for (left, top, columns, rows, _), (x, y) in zip(stats[1:], centres[1:], strict=True):
                if not 8 <= rows <= 64:
                    continue
                label = min((1, 4, 7), key=lambda label: abs(columns / rows - (label + 1) / 10))
                scores[index, :, int(y / 4), int(x / 4)] = 0.02
                scores[index, label, int(y / 4), int(x / 4)] = self.score
                boxes[index, :, int(y / 4), int(x / 4)] = (left, top, left + columns, top + rows)
        return PageOutputs(scores, boxes)


@dataclass
class NoisyDetector(FakeDetector):
    """Finds a digit in every cell of every page."""

    def __call__(self, pages: Images) -> PageOutputs:
        self.shapes.append(pages.shape)
        count, rows, columns = (pages.shape[0], pages.shape[1] // 4, pages.shape[2] // 4)
        generator = np.random.default_rng(0)
        scores = generator.uniform(0.3, 0.9, (count, 10, rows, columns)).astype(np.float32)
        y, x = np.mgrid[:rows, :columns] * np.float32(4)
        boxes = np.stack([x - 4, y - 8, x + 8, y + 12])[None].repeat(count, axis=0)
        return PageOutputs(scores, boxes)


def draw(
    *digits: tuple[int, ...],
    height: int = 60,
    width: int = 300,
    paper: float = 1.0,
    ink: float = 0.0,
    scale: float = 1.0,
) -> Picture:
    """A picture of rectangles. Each digit: label, left, top, and perhaps the height in pixels."""
    colours = np.full((height, width, 1), paper, dtype=np.float32)
    for label, left, top, *size in digits:
        side = size[0] if size else SIDE
        colours[top : top + side, left : left + round(side * (label + 1) / 10)] = ink
    return Picture(colours, scale)


def row(text: str, *, left: int = 20, top: int = 20, pitch: int = 30) -> list[tuple[int, int, int]]:
    return [(int(label), left + pitch * index, top) for index, label in enumerate(text)]


def lines(digits: list[read.FoundDigit]) -> list[str]:
    """The text of each line, with spaces between words."""
    texts = []
    for number in range(max((digit.line for digit in digits), default=-1) + 1):
        line = [digit for digit in digits if digit.line == number]
        words = [
            "".join(str(digit.probabilities.argmax()) for digit in line if digit.word == word)
            for word in range(line[-1].word + 1)
        ]
        texts.append(" ".join(words))
    return texts


def read_lines(picture: Picture, detector: PagePredictor | None = None) -> list[str]:
    return lines(read.read(picture, detector or FakeDetector(), threshold=None))


def test_digits_are_read_from_left_to_right() -> None:
    assert read_lines(draw(*reversed(row("1741")))) == ["1741"]


def test_lines_are_read_from_top_to_bottom() -> None:
    picture = draw(*row("471", top=90), *row("147", top=20), *row("44", top=55), height=130)

    assert read_lines(picture) == ["147", "44", "471"]


def test_a_wide_gap_separates_words() -> None:
    assert read_lines(draw(*row("147"), *row("44", left=180))) == ["147 44"]


def test_wide_spacing_does_not_separate_words() -> None:
    assert read_lines(draw(*row("1474", pitch=60))) == ["1474"]


@pytest.mark.parametrize("slope", [-0.087, 0.087])  # 5°
def test_tilted_lines_are_read_in_order(slope: float) -> None:
    texts = ["1474414771144717", "4417714741177414", "7174147741144714"]
    digits = [
        (int(label), 20 + 30 * column, round(80 + 40 * line + slope * 30 * column))
        for line, text in enumerate(texts)
        for column, label in enumerate(text)
    ]

    assert read_lines(draw(*digits, height=280, width=520)) == texts


def test_digits_of_a_line_may_differ_in_size() -> None:
    picture = draw((1, 20, 20, 40), (7, 60, 30, 24), (4, 100, 20, 40), height=80)

    assert read_lines(picture) == ["174"]


def test_light_digits_on_dark_paper_are_read() -> None:
    assert read_lines(draw(*row("174"), paper=0.1, ink=0.9)) == ["174"]


def test_digits_on_unevenly_lit_paper_are_read() -> None:
    picture = draw(*row("174"), paper=0.9, ink=0.2)
    light = np.linspace(0.5, 1.0, 300, dtype=np.float32)[None, :, None]

    assert read_lines(Picture(picture.colours * light, 1.0)) == ["174"]


@pytest.mark.parametrize("height", [12, 30, 100, 300])
def test_digits_of_any_size_are_read(height: int) -> None:
    picture = draw((4, height // 2, height // 2, height), height=2 * height, width=2 * height)

    digits = read.read(picture, FakeDetector(), threshold=None)

    assert lines(digits) == ["4"]
    assert np.allclose(digits[0].box, (height // 2, height // 2, height // 2, height), atol=height / 5)


def test_a_page_of_small_digits_is_read() -> None:
    texts = ["1474414771", "4417714741"] * 10
    rows = [row(text, top=40 + 48 * line, pitch=60) for line, text in enumerate(texts)]
    picture = draw(*(digit for digits in rows for digit in digits), height=1024, width=768)

    assert read_lines(picture) == texts


def test_boxes_are_in_pixels_of_the_original_picture() -> None:
    [digit] = read.read(draw((4, 40, 20), scale=3.0), FakeDetector(), threshold=None)

    assert np.allclose(digit.box, (120, 60, 30, 60), atol=9)


def test_the_box_of_a_cut_off_digit_ends_at_the_edge() -> None:
    digits = read.read(draw((4, 0, 20), (7, 288, 20)), FakeDetector(), threshold=None)

    assert digits[0].box.left == 0
    assert digits[-1].box.left + digits[-1].box.width == 300


def test_each_digit_has_a_centred_image() -> None:
    digits = read.read(draw(*row("174")), FakeDetector(), threshold=None)

    assert [digit.image.shape for digit in digits] == [(28, 28)] * 3
    assert all(digit.image.dtype == np.uint8 and digit.image.max() > 200 for digit in digits)
    assert not any(digit.image[:4].any() for digit in digits)


def test_probabilities_sum_to_one() -> None:
    for digit in read.read(draw(*row("174")), FakeDetector(), threshold=None):
        assert digit.probabilities.sum() == pytest.approx(1, abs=1e-5)
        assert digit.probabilities.max() > 0.9  # 0.8 against 0.02
        assert digit.familiarity == pytest.approx(0.9, abs=0.01)  # 0.8 without its neighbours


@pytest.mark.parametrize(("threshold", "count"), [(0.1, 3), (0.6, 0), (None, 0)])
def test_uncertain_digits_are_ignored(threshold: float | None, count: int) -> None:
    detector = FakeDetector(score=0.4, threshold=0.5)

    assert len(read.read(draw(*row("174")), detector, threshold=threshold)) == count


@pytest.mark.parametrize("shape", [(1, 1), (1, 1024), (1024, 1), (28, 28), (400, 600)])
@pytest.mark.parametrize("paper", [0.0, 0.5, 1.0])
def test_an_empty_picture_has_no_digits(shape: tuple[int, int], paper: float) -> None:
    picture = Picture(np.full((*shape, 1), paper, dtype=np.float32), 1.0)

    assert read.read(picture, FakeDetector(), threshold=None) == []


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 1024), (1024, 1), (30, 60), (100, 300), (768, 1024), (1024, 1024)]
)
def test_pages_have_a_limited_size_that_the_detector_accepts(shape: tuple[int, int]) -> None:
    detector = FakeDetector()

    read.read(Picture(np.ones((*shape, 1), dtype=np.float32), 1.0), detector, threshold=None)

    assert all(height % 16 == width % 16 == 0 for _, height, width in detector.shapes)
    assert all(height * width < 1_250_000 for _, height, width in detector.shapes)
    assert sum(height * width for _, height, width in detector.shapes) < 2_700_000


def test_a_small_picture_is_read_on_small_pages() -> None:
    detector = FakeDetector()

    read.read(draw(height=100), detector, threshold=None)

    assert sum(height * width for _, height, width in detector.shapes) < 50_000


def test_digits_in_every_cell_take_little_memory() -> None:
    picture = Picture(np.ones((256, 256, 1), dtype=np.float32), 1.0)

    tracemalloc.start()
    digits = read.read(picture, NoisyDetector(), threshold=None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert len(digits) <= 4_000
    assert peak < 40_000_000  # bytes


def test_overlapping_detections_are_one_digit() -> None:
    picture = Picture(np.ones((40, 40, 1), dtype=np.float32), 1.0)

    boxes = detect.find(detect.grey_levels(picture), NoisyDetector()).boxes

    assert len(boxes) > 3
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    for index, (box, area) in enumerate(zip(boxes, areas, strict=True)):
        sides = np.minimum(box[2:], boxes[:index, 2:]) - np.maximum(box[:2], boxes[:index, :2])
        assert (sides.clip(0).prod(axis=1) < 0.61 * np.minimum(area, areas[:index])).all()


def test_a_certain_classifier_outvotes_an_uncertain_detector() -> None:
    picture = draw(*row("174"))

    digits = read.read(
        picture, FakeDetector(score=0.4), classifier=FakeClassifier(8, 0.999_999), threshold=None
    )

    assert [int(digit.probabilities.argmax()) for digit in digits] == [8, 8, 8]


def test_an_uncertain_classifier_leaves_the_labels_to_the_detector() -> None:
    digits = read.read(
        draw(*row("174")), FakeDetector(), classifier=FakeClassifier(8, 0.3), threshold=None
    )

    assert "".join(str(digit.probabilities.argmax()) for digit in digits) == "174"
    assert all(digit.probabilities.sum() == pytest.approx(1) for digit in digits)


@pytest.mark.parametrize(("familiarity", "count"), [(0.99, 3), (0.01, 0)])
def test_the_classifier_decides_about_digits_near_the_threshold(familiarity: float, count: int) -> None:
    detector = FakeDetector(score=0.3, threshold=0.3)

    digits = read.read(
        draw(*row("174")),
        detector,
        classifier=FakeClassifier(1, familiarity=familiarity),
        threshold=None,
    )

    assert len(digits) == count


def test_a_picture_without_digits_is_not_classified() -> None:
    blank = Picture(np.ones((60, 100, 1), dtype=np.float32), 1.0)

    assert read.read(blank, FakeDetector(), classifier=FakeClassifier(1), threshold=None) == []


@pytest.mark.parametrize(
    ("digits", "is_more_familiar"),
    [
        ([(4, 50, 20)], True),  # beside the digit
        ([(4, 20, 70)], False),  # below it
        ([(4, 150, 20)], False),  # far away
        ([], False),
    ],
)
def test_a_digit_with_a_neighbour_is_more_familiar(
    digits: list[tuple[int, int, int]], is_more_familiar: bool
) -> None:
    first, *_ = read.read(draw((7, 20, 20), *digits), FakeDetector(score=0.7), threshold=None)

    assert (first.familiarity > 0.7) is is_more_familiar


def test_something_much_smaller_is_no_neighbour() -> None:
    boxes = np.array([[0, 0, 20, 30], [22, 15, 34, 30], [0, 40, 20, 70], [22, 40, 40, 68]], np.float32)

    neighbours = have_neighbours(boxes, np.array([True, True, True, True]))

    assert neighbours.tolist() == [False, False, True, True]
