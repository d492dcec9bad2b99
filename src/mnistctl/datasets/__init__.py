"""Datasets, ready to use: found or fetched, verified, divided into train, validation and test."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mnistctl.datasets import bundled_digits, catalog, fetch, idx, splits, user_folder, verify
from mnistctl.datasets.catalog import Dataset
from mnistctl.errors import UsageError, unknown_name
from mnistctl.system import files
from mnistctl.types import Images

_log = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Labelled images of one part of a dataset."""

    dataset: str  # a name in the catalog, or the absolute path of a folder
    name: str
    images: Images  # uint8 (N, 28, 28), 0 = paper, 255 = ink
    labels: npt.NDArray[np.int64]  # (N,), in 0 .. C - 1
    class_names: Sequence[str]  # C of them
    sha256: str  # of the content that the images were taken from

    def take(self, rows: npt.NDArray[np.intp] | slice, *, name: str) -> "Split":
        """Some of the images, as a split of another name."""
        return replace(self, name=name, images=self.images[rows], labels=self.labels[rows])


def find(name: str) -> Dataset | Path:
    """The dataset of this name, or the folder that holds a person's own.

    Raises:
        UsageError: it is neither; the message names the nearest.
    """
    if name in catalog.DATASETS:
        return catalog.DATASETS[name]
    if name and Path(name).is_dir():
        return Path(name).resolve()  # absolute, so that it is never taken for a name
    if name and (Path(name).name != name or Path(name).exists()):
        raise UsageError(f"--dataset {name}: not a folder")
    raise unknown_name("dataset", name, catalog.DATASETS)


def canonical(name: str) -> str:
    """The one spelling of a dataset: a name in the catalog, or the absolute path of a folder.

    Raises:
        UsageError: it is neither.
    """
    dataset = find(name)
    return str(dataset) if isinstance(dataset, Path) else dataset.name


def check_split(name: str, split: str) -> None:
    """Check that a dataset has a split, before anything is loaded.

    Raises:
        UsageError: there is no such dataset, or it has no such split.
    """
    dataset = find(name)
    known = SPLITS if isinstance(dataset, Path) else (*SPLITS, *dataset.subsets)
    if split not in known:
        raise unknown_name(f"split of '{name}'", split, known)


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
    subset: int | None = None,
    split_seed: int = 0,
) -> Split:
    """One split of a dataset, verified; missing files of one in the catalog are downloaded first.

    Args:
        name: of a dataset in the catalog, or a folder (see `own`).
        split: "train", "validation" or "test"; some datasets have more.
        data_dir: the data folder, if not the usual one.
        validation_size: how many images are held out of train; None: one in 12. Of no account for
            a folder without given splits, whose pictures are divided by their content.
        subset: how many of the others train has, every class in proportion; None: all.
        split_seed: which images those are.

    Raises:
        UsageError: an unknown dataset or split, or nothing left to train on.
        DataError: files damaged or not matching each other, or not to be had.
    """
    check_split(name, split)
    dataset = find(name)
    if split in ("train", "validation"):
        train, validation = load_for_training(
            name,
            data_dir=data_dir,
            validation_size=validation_size,
            subset=subset,
            split_seed=split_seed,
        )
        return train if split == "train" else validation
    if isinstance(dataset, Path):
        return _of_own(dataset, ("test",))[0]
    whole = _load_part(dataset, "test", data_dir)
    return whole.take(dataset.subsets[split], name=split) if split in dataset.subsets else whole


def load_for_training(
    name: str,
    *,
    data_dir: Path | None = None,
    validation_size: int | None = None,
    subset: int | None = None,
    split_seed: int = 0,
) -> tuple[Split, Split]:
    """Train and validation, as `load` gives them; no test image is looked at."""
    dataset = find(name)
    if isinstance(dataset, Path):
        if not user_folder.has_given_splits(dataset):
            if validation_size is not None:
                raise UsageError(
                    f"--validation-size: the pictures in {dataset} are divided by their content, a "
                    "tenth for validation; give them train/ and test/ folders to choose"
                )
            train, validation = _of_own(dataset, ("train", "validation"))
            return _some(train, subset, split_seed), validation
        (whole,) = _of_own(dataset, ("train",))
    else:
        whole = _load_part(dataset, "train", data_dir)
    rows = splits.hold_out(whole.labels, size=validation_size, split_seed=split_seed)
    train = _some(whole.take(rows[0], name="train"), subset, split_seed)
    return train, whole.take(rows[1], name="validation")


def _some(train: Split, subset: int | None, split_seed: int) -> Split:
    """So many of the training images, every class in proportion; None: all."""
    if subset is None or subset == len(train.images):
        return train
    if subset > len(train.images):
        raise UsageError(f"--subset {subset:,}: there are only {len(train.images):,} training images")
    _, rows = splits.hold_out(train.labels, size=subset, split_seed=split_seed)
    return train.take(rows, name="train")


def _of_own(folder: Path, parts: tuple[str, ...]) -> list[Split]:
    loaded = user_folder.load(folder, parts)
    return [Split(str(folder), part, **vars(loaded[part])) for part in parts]


def _load_part(dataset: Dataset, part: str, data_dir: Path | None) -> Split:
    folder, name = raw_folder(dataset, data_dir), dataset.name
    wanted = dataset.parts[part]
    if not all((folder / file.name).is_file() for file in wanted):
        fetch.fetch(dataset, folder)
    mend = f"'mnistctl download {name}' repairs it" if dataset.folder else "install mnistctl again"
    found = [verify.read(folder / file.name, file, mend=mend) for file in wanted]
    unverified = [file.name for file, item in zip(wanted, found, strict=True) if not item.verified]
    if unverified:
        _log.warning(
            f"{', '.join(unverified)} in {folder}: unverified: no published hash vouches for what "
            "another tool unpacked; delete them to download them again"
        )
    if not dataset.folder:
        images, labels = bundled_digits.unpack(found[0].content, part)
    else:
        names = [file.name for file in wanted]
        arrays = [idx.parse(item.content, name) for item, name in zip(found, names, strict=True)]
        images, labels = idx.pair(*arrays, names=names, classes=len(dataset.class_names))
    sha256 = files.sha256("".join(item.sha256 for item in found).encode())
    return Split(name, part, images, labels, dataset.class_names, sha256)
