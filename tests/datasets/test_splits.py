import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnistctl.datasets import splits
from mnistctl.errors import UsageError

LABELS = np.repeat(np.arange(4), [10, 20, 30, 60])


@given(st.integers(0, 119), st.integers(0, 5))
def test_every_row_is_in_one_split_and_classes_keep_their_proportions(size: int, seed: int) -> None:
    train, validation = splits.hold_out(LABELS, size=size, split_seed=seed)

    assert sorted([*train, *validation]) == list(range(120))
    assert len(validation) == size
    exact = np.bincount(LABELS) * size / 120
    assert (np.abs(np.bincount(LABELS[validation], minlength=4) - exact) < 1).all()


def test_the_split_depends_only_on_its_seed() -> None:
    first, again, other = (splits.hold_out(LABELS, size=40, split_seed=seed)[1] for seed in (0, 0, 1))

    assert (first == again).all()
    assert set(first) != set(other)


def test_one_image_in_twelve_is_held_out_by_default() -> None:
    assert len(splits.hold_out(LABELS, size=None, split_seed=0)[1]) == 10


@pytest.mark.parametrize("size", [120, 1_000])
def test_a_validation_size_that_leaves_no_training_image_is_rejected(size: int) -> None:
    with pytest.raises(UsageError, match="there are only 120 training images"):
        splits.hold_out(LABELS, size=size, split_seed=0)


def test_every_class_with_two_images_has_one_for_validation_by_default() -> None:
    labels = np.repeat(np.arange(5), [100, 40, 3, 2, 1])

    _, validation = splits.hold_out(labels, size=None, split_seed=0)

    assert np.bincount(labels[validation], minlength=5).tolist() == [8, 3, 1, 1, 0]


def test_small_classes_come_first_if_the_size_is_given() -> None:
    labels = np.repeat(np.arange(3), [20, 20, 3])

    _, validation = splits.hold_out(labels, size=3, split_seed=0)

    assert np.bincount(labels[validation]).tolist() == [1, 1, 1]


def test_a_class_without_a_validation_picture_gets_one_of_its_training_pictures() -> None:
    hashes = [f"{number:064x}" for number in range(4)]  # all of them are for training

    names = splits.of_class(hashes)

    assert names == dict.fromkeys(hashes[:3], "train") | {hashes[3]: "validation"}
    assert splits.of_class(hashes[:1]) == {hashes[0]: "train"}
