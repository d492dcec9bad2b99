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


def test_consecutive_split_seeds_hold_out_different_images_until_all_are_used() -> None:
    folds = [splits.hold_out(LABELS, size=None, split_seed=seed)[1].tolist() for seed in range(24)]

    first, second = folds[:10], folds[10:20]  # the smallest class has ten images
    for group in (first, second):
        assert len({row for fold in group for row in fold}) == sum(map(len, group)) == 100
    assert sorted(first) != sorted(second)


def test_nine_split_seeds_hold_out_different_pictures_and_the_same_test_pictures() -> None:
    hashes = [f"{number:064x}" for number in range(0, 2**256, 2**256 // 1000)]
    names = [[splits.by_content(sha256, split_seed=seed) for sha256 in hashes] for seed in range(10)]

    for of_picture in zip(*names[:9], strict=True):
        assert of_picture.count("validation") == (of_picture[0] != "test")
    assert len({tuple(name == "test" for name in of_seed) for of_seed in names}) == 1
    assert names[9] == names[0]


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
