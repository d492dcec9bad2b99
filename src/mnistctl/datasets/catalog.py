"""DATASETS: the table of all datasets.

To add a dataset in IDX format, add an entry; no other code changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

DIGITS = tuple("0123456789")
IMAGES_60K, LABELS_60K = 47_040_016, 60_008  # sizes in bytes of the raw files
IMAGES_10K, LABELS_10K = 7_840_016, 10_008


@dataclass(frozen=True)
class RawFile:
    """An unpacked file of a dataset. The archive, if there is one, is `name` + `.gz`.

    If only the hash of the archive was published, the hash of the raw file is recorded beside it when
    a verified archive is unpacked.
    """

    name: str
    size_bytes: int
    sha256: str | None = None  # of the raw file
    archive_md5: str | None = None  # of the published archive


@dataclass(frozen=True)
class Dataset:
    """A dataset: its files, their mirrors, and the names of its classes."""

    name: str
    summary: str
    class_names: tuple[str, ...]
    split_files: Mapping[str, tuple[RawFile, ...]]  # "train", "test" -> (images, labels)
    licence: str
    citation: str
    folder: str = ""  # in the data folder, as in torchvision; "": part of the package
    mirrors: tuple[str, ...] = ()  # base URLs, tried in this order
    subsets: Mapping[str, slice] = field(default_factory=dict)  # more splits, as rows of test

    @property
    def files(self) -> tuple[RawFile, ...]:
        """Every file once, in order."""
        return tuple(dict.fromkeys(file for files in self.split_files.values() for file in files))


def _mnist_files(images: str, labels: str, *hashes: str) -> dict[str, tuple[RawFile, ...]]:
    """The four files of a dataset that is laid out like MNIST, from the MD5 of their archives."""
    names = [f"{prefix}-{suffix}" for prefix in ("train", "t10k") for suffix in (images, labels)]
    sizes = (IMAGES_60K, LABELS_60K, IMAGES_10K, LABELS_10K)
    files = [
        RawFile(name, size, archive_md5=md5)
        for name, size, md5 in zip(names, sizes, hashes, strict=True)
    ]
    return {"train": tuple(files[:2]), "test": tuple(files[2:])}


_BUNDLED_DIGITS = RawFile(
    "digits.npz", 45_394, "b2dab7b501728c22e9119ad76740b2e17c77a231e42d1e592380d90886f1a05e"
)

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="mnist",
            summary="70,000 handwritten digits",
            class_names=DIGITS,
            split_files={
                "train": (
                    RawFile(
                        "train-images-idx3-ubyte",
                        IMAGES_60K,
                        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                    ),
                    RawFile(
                        "train-labels-idx1-ubyte",
                        LABELS_60K,
                        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                    ),
                ),
                "test": (
                    RawFile(
                        "t10k-images-idx3-ubyte",
                        IMAGES_10K,
                        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                    ),
                    RawFile(
                        "t10k-labels-idx1-ubyte",
                        LABELS_10K,
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
            name="fashion-mnist",
            summary="70,000 images of clothes and shoes",
            class_names=(
                "T-shirt/top",
                "trouser",
                "pullover",
                "dress",
                "coat",
                "sandal",
                "shirt",
                "sneaker",
                "bag",
                "ankle boot",
            ),
            split_files=_mnist_files(
                "images-idx3-ubyte",
                "labels-idx1-ubyte",
                "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                "25c81989df183df01b3e8a0aad5dffbe",
                "bef4ecab320f06d8554ea6380940ec79",
                "bb300cfdad3c16e7a12a480ee83cd310",
            ),
            licence="MIT",
            citation=(
                "H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a novel image dataset for "
                "benchmarking machine learning algorithms. arXiv:1708.07747 (2017)"
            ),
            folder="FashionMNIST/raw",
            mirrors=(
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            ),
        ),
        Dataset(
            name="kmnist",
            summary="70,000 cursive Japanese characters",
            class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
            split_files=_mnist_files(
                "images-idx3-ubyte",
                "labels-idx1-ubyte",
                "bdb82020997e1d708af4cf47b453dcf7",
                "e144d726b3acfaa3e44228e80efcd344",
                "5c965bf0a639b31b8f53240b1b52f4d7",
                "7320c461ea6c1c855c0b718fb2a4b134",
            ),
            licence="CC BY-SA 4.0",
            citation=(
                "T. Clanuwat, M. Bober-Irizar, A. Kitamoto, A. Lamb, K. Yamamoto, D. Ha: Deep "
                "learning for classical Japanese literature. arXiv:1812.01718 (2018)"
            ),
            folder="KMNIST/raw",
            mirrors=("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
        ),
        Dataset(
            name="qmnist",
            summary="MNIST's 60,000 training digits, and 60,000 test digits from the same source",
            class_names=DIGITS,
            split_files={
                "train": (
                    RawFile(
                        "qmnist-train-images-idx3-ubyte",
                        IMAGES_60K,
                        archive_md5="ed72d4157d28c017586c42bc6afe6370",
                    ),
                    RawFile(
                        "qmnist-train-labels-idx2-int",
                        1_920_012,
                        archive_md5="0058f8dd561b90ffdd0f734c6a30e5e4",
                    ),
                ),
                "test": (
                    RawFile(
                        "qmnist-test-images-idx3-ubyte",
                        IMAGES_60K,
                        archive_md5="1394631089c404de565df7b7aeaf9412",
                    ),
                    RawFile(
                        "qmnist-test-labels-idx2-int",
                        1_920_012,
                        archive_md5="5b5b05890a5e13444e108efe57b788aa",
                    ),
                ),
            },
            licence="BSD 3-Clause",
            citation=(
                "C. Yadav, L. Bottou: Cold case: the lost MNIST digits. "
                "Advances in Neural Information Processing Systems 32 (2019)"
            ),
            folder="QMNIST/raw",
            mirrors=("https://raw.githubusercontent.com/facebookresearch/qmnist/master/",),
            subsets={"test10k": slice(10_000), "test50k": slice(10_000, None)},
        ),
        Dataset(
            name="digits",
            summary="1,797 handwritten digits, 8×8 scaled up; part of mnistctl",
            class_names=DIGITS,
            split_files={"train": (_BUNDLED_DIGITS,), "test": (_BUNDLED_DIGITS,)},
            licence="CC BY 4.0",
            citation=(
                "E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits. "
                "UCI Machine Learning Repository (1998), doi:10.24432/C50P49"
            ),
        ),
    )
}
