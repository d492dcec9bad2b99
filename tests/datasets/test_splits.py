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
