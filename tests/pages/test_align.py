"""The digits of a picture whose number is known are found, and the picture becomes a page."""

from collections.abc import Sequence

import numpy as np
import pytest

from mnistctl.pages import labelled
from mnistctl.pages.align import align
from mnistctl.pages.detect import Detections
from mnistctl.pages.labelled import LabelledPicture


def detections(*digits: tuple[Sequence[float], dict[int, float]]) -> Detections:
    """Boxes with the scores of some labels."""
    scores = np.full((len(digits), 10), 0.01, dtype=np.float32)
    for row, (_, given) in zip(scores, digits, strict=True):
        row[list(given)] = list(given.values())
    boxes = np.array([box for box, _ in digits], dtype=np.float32).reshape(-1, 4)
    return Detections(boxes, scores)


def box(left: float, top: float = 10, width: float = 14, height: float = 20) -> list[float]:
    return [left, top, left + width, top + height]


def test_the_digits_are_aligned_from_left_to_right_even_if_they_are_read_wrongly() -> None:
    found = detections((box(40), {4: 0.8}), (box(0), {1: 0.9}), (box(20), {7: 0.8, 9: 0.1}))

    chosen = align("194", found)

    assert chosen is not None
    assert chosen.tolist() == [1, 2, 0]


def test_detections_that_are_too_many_or_in_another_line_are_left_out() -> None:
    found = detections(
        (box(0), {1: 0.9}),
        (box(15, top=60), {9: 0.9}),  # below the line
        (box(16), {9: 0.2}),
        (box(24, top=26, width=4, height=5), {1: 0.3}),  # a speck
        (box(32), {8: 0.7}),
        (box(48), {1: 0.3}),  # the frame of the field
    )

    chosen = align("198", found)

    assert chosen is not None
    assert chosen.tolist() == [0, 2, 4]


def test_digits_that_touch_are_preferred_to_one_detection_of_both() -> None:
    found = detections(
        (box(0, width=27), {0: 0.6, 8: 0.5}),
        (box(0), {0: 0.2}),
        (box(12), {0: 0.3}),
        (box(28), {5: 0.9}),
    )

    chosen = align("005", found)

    assert chosen is not None
    assert chosen.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "found",
    [
        detections(),
        detections((box(0), {1: 0.9}), (box(20), {9: 0.9})),
        detections((box(0), {1: 0.9}), (box(20), {9: 0.9}), (box(40, top=60), {8: 0.9})),
    ],
    ids=["none", "too few", "in two lines"],
)
def test_a_number_without_enough_detections_in_a_line_is_not_aligned(found: Detections) -> None:
    assert align("198", found) is None


def test_the_boxes_of_an_augmented_page_surround_the_ink_of_their_digits() -> None:
    image = np.zeros((60, 400), dtype=np.uint8)
    boxes = np.array([[30, 15, 54, 50], [70, 12, 90, 47], [320, 15, 340, 50]], dtype=np.float32)
    for left, top, right, bottom in boxes.astype(int):
        image[top:bottom, left:right] = 255
    picture = LabelledPicture(image, "358", boxes)

    pages = [
        labelled.augment(picture, np.random.default_rng(seed), height=64, width=192)
        for seed in range(40)
    ]

    assert {label for page in pages for label in page.labels.tolist()} == {-1, 3, 5, 8}
    for page in pages:
        assert page.image.shape == (64, 192)
        assert (page.labels >= 0).any()
        for left, top, right, bottom in np.rint(page.boxes).astype(int)[page.labels >= 0]:
            assert page.image[top:bottom, left:right].mean() > 180
