"""Datasets, ready to use: found or fetched, verified, and divided into train, validation and test."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mnistctl import files
from mnistctl.data import catalog, digits, fetch, idx, splits
from mnistctl.data.catalog import Dataset, RawFile
from mnistctl.errors import DataError, unknown_name
from mnistctl.predictor import IMAGE_SIZE, Images

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Labelled images of one part of a dataset."""

    dataset: str
    name: str
    images: Images  # uint8 (N, 28, 28), 0 = paper, 255 = ink
    labels: npt.NDArray[np.int64]  # (N,), in 0 .. C - 1
    class_names: Sequence[str]  # C of them

    def take(self, rows: npt.NDArray[np.intp], *, name: str) -> "Split":
        """Some of the images, as a split of another name."""
        return Split(self.dataset, name, self.images[rows], self.labels[rows], self.class_names)


def data_folder(data_dir: Path | None = None) -> Path:
    """Where data lies: `data_dir`, else MNISTCTL_DATA_DIR, else the user's cache folder."""
    if data_dir is not None:
        return data_dir
    if named := os.environ.get("MNISTCTL_DATA_DIR"):
        return Path(named)
    import platformdirs

    return platformdirs.user_cache_path("mnistctl")


def raw_folder(dataset: Dataset, data_dir: Path | None = None) -> Path:
    """Where a dataset's raw files lie: in the data folder, or inside the package."""
    return data_folder(data_dir) / dataset.folder if dataset.folder else Path(__file__).parent


def is_on_disk(dataset: Dataset, data_dir: Path | None = None) -> bool:
    """Whether all raw files of a dataset are there (right or not)."""
    folder = raw_folder(dataset, data_dir)
    return all((folder / file.name).is_file() for file in dataset.files)


def load(
    name: str,
    split: str,
    *,
    data_dir: Path | None = None,
    validation_size: int | None = None,
    split_seed: int = 0,
    on_progress: fetch.OnProgress = lambda file, received, total: None,
) -> Split:
    """One split of a dataset, verified by SHA-256; missing files are downloaded first.

    Args:
        name: of a dataset.
        split: "train", "validation" or "test".
        data_dir: the data folder, if not the usual one.
        validation_size: how many images are held out of train; None: one in 12.
        split_seed: which images those are.
        on_progress: called as bytes arrive.

    Raises:
        UsageError: an unknown dataset or split, or nothing left to train on.
        DataError: files damaged or not matching each other, or not to be had.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if split == "test":
        return _load_part(name, "test", data_dir, on_progress)
    train, validation = load_for_training(
        name,
        data_dir=data_dir,
        validation_size=validation_size,
        split_seed=split_seed,
        on_progress=on_progress,
    )
    return train if split == "train" else validation


def load_for_training(
    name: str,
    *,
    data_dir: Path | None = None,
    validation_size: int | None = None,
    split_seed: int = 0,
    on_progress: fetch.OnProgress = lambda file, received, total: None,
) -> tuple[Split, Split]:
    """Train and validation, as `load` gives them; the test files are not opened."""
    whole = _load_part(name, "train", data_dir, on_progress)
    train_rows, validation_rows = splits.hold_out(
        whole.labels, size=validation_size, split_seed=split_seed
    )
    return (
        whole.take(train_rows, name="train"),
        whole.take(validation_rows, name="validation"),
    )


def _load_part(name: str, part: str, data_dir: Path | None, on_progress: fetch.OnProgress) -> Split:
    dataset = catalog.find(name)
    folder = raw_folder(dataset, data_dir)
    if not is_on_disk(dataset, data_dir):
        fetch.fetch(dataset, folder, on_progress=on_progress)
    contents = [_read(folder / file.name, file) for file in dataset.splits[part]]
    if dataset.folder:
        images, labels = _pair(contents, dataset, part)
    else:
        images, labels = digits.unpack(contents[0], part)
    return Split(name, part, images, labels, dataset.class_names)


def _read(path: Path, file: RawFile) -> bytes:
    """A raw file's bytes, verified.

    Raises:
        DataError: unreadable, or not the bytes the catalog knows.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    if len(content) != file.size_bytes or files.sha256(content) != file.sha256:
        raise DataError(
            f"{path}: damaged: {len(content):,} bytes that are not the published "
            f"{file.size_bytes:,}; 'mnistctl download' repairs it"
        )
    return content


def _pair(contents: list[bytes], dataset: Dataset, part: str) -> tuple[Images, npt.NDArray[np.int64]]:
    """Images and labels from their IDX files.

    Raises:
        DataError: not 28×28 images, not one label for each, or a label outside the classes.
    """
    names = [file.name for file in dataset.splits[part]]
    images, labels = (idx.parse(*pair) for pair in zip(contents, names, strict=True))
    if images.ndim != 3 or images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise DataError(f"{names[0]}: shape {images.shape}, expected (N, 28, 28)")
    if len(labels) != len(images):
        raise DataError(f"{names[1]}: {len(labels):,} labels for {len(images):,} images")
    if len(labels) and labels.max() >= len(dataset.class_names):
        raise DataError(
            f"{names[1]}: label {labels.max()}, expected 0 to {len(dataset.class_names) - 1}"
        )
    return images, labels.astype(np.int64)
