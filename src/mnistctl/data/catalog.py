"""DATASETS: what there is to train on, in one table.

A dataset of the same format is one more entry here and nothing elsewhere.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from mnistctl.errors import unknown_name

DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class RawFile:
    """One file of a dataset as it lies on disk, unpacked; its archive is `name` + `.gz`."""

    name: str
    size_bytes: int
    sha256: str  # of the raw bytes, whatever packed them


@dataclass(frozen=True)
class Dataset:
    """A dataset: its files by split, where they come from, and what its classes are called."""

    name: str
    summary: str
    class_names: tuple[str, ...]
    splits: Mapping[str, tuple[RawFile, ...]]  # "train" and "test" -> images, labels
    licence: str
    citation: str
    folder: str = ""  # under the data folder, as torchvision has it; "": inside the package
    mirrors: tuple[str, ...] = ()  # tried in this order; the archives' names are appended

    @property
    def files(self) -> tuple[RawFile, ...]:
        """Every file once, in order."""
        return tuple(dict.fromkeys(file for files in self.splits.values() for file in files))

    @property
    def sha256(self) -> str:
        """The dataset's identity: SHA-256 over its files' SHA-256, in order."""
        return hashlib.sha256("".join(file.sha256 for file in self.files).encode()).hexdigest()


_EMBEDDED_DIGITS = RawFile(
    "digits.npz", 45_394, "b2dab7b501728c22e9119ad76740b2e17c77a231e42d1e592380d90886f1a05e"
)

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="mnist",
            summary="70,000 handwritten digits",
            class_names=DIGITS,
            splits={
                "train": (
                    RawFile(
                        "train-images-idx3-ubyte",
                        47_040_016,
                        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                    ),
                    RawFile(
                        "train-labels-idx1-ubyte",
                        60_008,
                        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                    ),
                ),
                "test": (
                    RawFile(
                        "t10k-images-idx3-ubyte",
                        7_840_016,
                        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                    ),
                    RawFile(
                        "t10k-labels-idx1-ubyte",
                        10_008,
                        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                    ),
                ),
            },
            licence="CC BY-SA 3.0",
            citation=(
                "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to "
                "document recognition. Proceedings of the IEEE 86 (1998), 2278-2324"
            ),
            folder="MNIST/raw",
            mirrors=(
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
                "https://raw.githubusercontent.com/fgnt/mnist/master/",
            ),
        ),
        Dataset(
            name="digits",
            summary="1,797 handwritten digits, 8×8 scaled up; inside the package",
            class_names=DIGITS,
            splits={"train": (_EMBEDDED_DIGITS,), "test": (_EMBEDDED_DIGITS,)},
            licence="CC BY 4.0",
            citation=(
                "E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits. "
                "UCI Machine Learning Repository (1998), doi:10.24432/C50P49"
            ),
        ),
    )
}


def find(name: str) -> Dataset:
    """The dataset of this name.

    Raises:
        UsageError: there is none; the message names the nearest.
    """
    if name not in DATASETS:
        raise unknown_name("dataset", name, DATASETS)
    return DATASETS[name]
