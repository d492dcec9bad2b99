"""Splits of a dataset, and how images are divided into them, independently of the training seed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mnistctl.errors import UsageError
from mnistctl.system import files
from mnistctl.types import Images, Labels

if TYPE_CHECKING:
    from mnistctl.pages.labelled import LabelledPicture  # OpenCV, 0.1 s

VALIDATION_ONE_IN = 12  # by default one training image in 12 is for validation: 5,000 of MNIST

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Split:
    """The labelled images of one split of a dataset."""

    dataset: str  # a name in the catalog, or the absolute path of a folder
    name: str  # such as "train", "validation" or "test"
    images: Images  # uint8 (N, 28, 28), 0 = paper, 255 = ink
    labels: Labels  # int64 (N,), 0 to C - 1
    class_names: Sequence[str]  # C names
    sha256: str  # of the files that the images come from
    pictures: Sequence["LabelledPicture"] = ()  # of numbers, for a detector of digits
    pictures_sha256: str = ""  # of all files of such pictures; "": there are none

    @property
    def all_sha256(self) -> str:
        """The SHA-256 of all files, of images and of pictures."""
        if not self.pictures_sha256:
            return self.sha256
        return files.sha256(f"{self.sha256}{self.pictures_sha256}".encode())

    def take(self, rows: Rows | slice, *, name: str) -> "Split":
        """A split of some of the images."""
        return replace(self, name=name, images=self.images[rows], labels=self.labels[rows])

    def extend(self, images: Images, labels: Labels) -> "Split":
        """The split with more images, uint8 (M, 28, 28), and their labels, int64 (M,)."""
        return replace(
            self,
            images=np.concatenate([self.images, images]),
            labels=np.concatenate([self.labels, labels]),
        )

    def largest_share(self) -> float | None:
        """The share of the images that are of the most frequent class; None: no images."""
        return float(np.bincount(self.labels).max() / len(self.labels)) if len(self.labels) else None


def hold_out(labels: Labels, *, size: int | None, split_seed: int) -> tuple[Rows, Rows]:
    """Divide rows into (train, validation), with every class in proportion, both in rising order.

    Args:
        labels: int64 (N,).
        size: the number of rows for validation; None: one in 12, and at least one of every class that
            has two.
        split_seed: selects the rows; the same seed and labels give the same rows. Consecutive seeds
            hold out different rows, as the folds of a cross-validation do, until all are used up; then
            the rows are shuffled anew.

    Raises:
        UsageError: no row would be left for training.
    """
    count, has_default_size = len(labels), size is None
    if size is None:
        size = count // VALIDATION_ONE_IN
    if size >= count:
        raise UsageError(
            f"--validation-size {size:,}: there are only {count:,} training images to hold out from"
        )
    counts = np.bincount(labels)
    exact = counts * size / count
    quotas = np.floor(exact).astype(np.intp)
    # The rows lost by rounding down go to the classes that have none yet, then to those that lost most.
    rank = quotas - exact
    rank[(quotas == 0) & (counts > 1)] -= 1
    quotas[np.argsort(rank, kind="stable")[: size - quotas.sum()]] += 1
    if has_default_size:
        quotas[(quotas == 0) & (counts > 1)] = 1
    folds = min((counts[quotas > 0] // quotas[quotas > 0]).tolist(), default=1)
    shuffle, fold = divmod(split_seed, folds)
    random = np.random.default_rng(shuffle)
    held_out = np.zeros(count, dtype=bool)
    for label, quota in enumerate(quotas):
        rows = random.permutation(np.flatnonzero(labels == label))
        held_out[rows[fold * quota : (fold + 1) * quota]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def of_class(hashes: Iterable[str], *, split_seed: int = 0) -> dict[str, str]:
    """The splits of the pictures of one class by their hashes: `by_content`, with one exception.

    If none is for validation and two or more are for training, one of these is for validation.
    """
    names = {sha256: by_content(sha256, split_seed=split_seed) for sha256 in hashes}
    train = [sha256 for sha256, name in names.items() if name == "train"]
    if len(train) > 1 and "validation" not in names.values():
        names[max(train)] = "validation"  # the one that is nearest to the hashes of validation pictures
    return names


def by_content(sha256: str, *, split_seed: int = 0) -> str:
    """The split of a picture, by its content alone: 80% train, 10% validation, 10% test.

    A new picture never moves another one to a different split, and copies of a picture are in the
    same split.

    Args:
        sha256: the hash of the picture's file, in hexadecimal.
        split_seed: selects the tenth for validation. Nine consecutive seeds hold out different
            pictures; the test pictures are the same for all seeds.
    """
    tenth = int(sha256[:16], 16) * 10 >> 64
    if tenth == 9:
        return "test"
    return "validation" if tenth == 8 - split_seed % 9 else "train"
