"""Dividing images into train, validation and test, independently of the training seed."""

import numpy as np
import numpy.typing as npt

from mnistctl.errors import UsageError

DEFAULT_SHARE = 12  # one image in 12 is held out unless a size is asked for: 5,000 of MNIST

_TRAIN_SHARE, _VALIDATION_SHARE = 0.8, 0.1  # of pictures without given splits; the rest is test

Rows = npt.NDArray[np.intp]


def hold_out(labels: npt.NDArray[np.int64], *, size: int | None, split_seed: int) -> tuple[Rows, Rows]:
    """Divide rows into (train, validation), every class in proportion, both in rising order.

    Args:
        labels: int64 (N,).
        size: rows to hold out; None: one in 12; 0: none.
        split_seed: which ones; the same seed and labels give the same rows.

    Raises:
        UsageError: nothing would be left to train on.
    """
    images = len(labels)
    if size is None:
        size = images // DEFAULT_SHARE
    if size >= images:
        raise UsageError(
            f"--validation-size {size:,}: there are only {images:,} training images to hold out from"
        )
    counts = np.bincount(labels)
    shares = counts * size / images
    quota = np.floor(shares).astype(np.intp)
    # What rounding down left over goes to the classes it cost most.
    quota[np.argsort(quota - shares, kind="stable")[: size - quota.sum()]] += 1
    random = np.random.default_rng(split_seed)
    held_out = np.zeros(images, dtype=bool)
    for label, rows in enumerate(quota):
        held_out[random.permutation(np.flatnonzero(labels == label))[:rows]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def by_content(sha256: str) -> str:
    """Which split a picture belongs to, by its own content alone: 80% train, 10% validation, 10% test.

    More pictures never move one from a split to another, and copies of a picture stay together.

    Args:
        sha256: of the picture's file, in hexadecimal.
    """
    position = int(sha256[:16], 16) / 2**64
    if position < _TRAIN_SHARE:
        return "train"
    return "validation" if position < _TRAIN_SHARE + _VALIDATION_SHARE else "test"
