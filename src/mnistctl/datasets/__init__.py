"""Find, download, verify and load datasets, as train, validation and test splits."""

import logging
import os
import shlex
import tempfile
from pathlib import Path

from mnistctl.datasets import bundled_digits, catalog, fetch, idx, splits, user_folder, verify
from mnistctl.datasets.catalog import Dataset
from mnistctl.datasets.splits import Split
from mnistctl.errors import DownloadError, UsageError, shorten, unknown_name
from mnistctl.system import files

__all__ = [
    "SPLITS",
    "Split",
    "canonical_name",
    "check_split",
    "data_folder",
    "find_dataset",
    "is_on_disk",
    "load",
    "load_for_training",
    "raw_folder",
    "repair_command",
]

_log = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")


def find_dataset(name: str) -> Dataset | Path:
    """The dataset with this name, or the absolute path of the user's folder.

    Raises:
        UsageError: there is neither; the message suggests a similar name.
    """
    if name in catalog.DATASETS:
        return catalog.DATASETS[name]
    if os.path.isdir(name):  # False for names that no file can have
        return Path(name).resolve()  # an absolute path is never mistaken for a name
    if name and (Path(name).name != name or os.path.exists(name)):
        raise UsageError(f"--dataset {shorten(name)}: not a folder")
    raise unknown_name("dataset", name, catalog.DATASETS)


def canonical_name(name: str) -> str:
    """The unique spelling of a dataset: its name in the catalog, or the absolute path of a folder.

    Raises:
        UsageError: there is neither, or the path has characters that cannot be printed.
    """
    dataset = find_dataset(name)
    canonical = str(dataset) if isinstance(dataset, Path) else dataset.name
    if not canonical.isprintable():  # model files hold it as text
        raise UsageError(f"{name!a}: a path with characters that cannot be printed; rename it")
    return canonical


def check_split(name: str, split: str) -> None:
    """Check that a dataset has a split, before anything is loaded.

    Raises:
        UsageError: there is no such dataset, or it has no such split.
    """
    dataset = find_dataset(name)
    names = SPLITS if isinstance(dataset, Path) else (*SPLITS, *dataset.subsets)
    if split not in names:
        raise unknown_name(f"split of '{name}'", split, names)


def data_folder(data_dir: Path | None = None) -> Path:
    """The data folder: `data_dir`, else MNISTCTL_DATA_DIR, else the user's cache folder."""
    if data_dir is not None:
        return data_dir
    if variable := os.environ.get("MNISTCTL_DATA_DIR"):
        return Path(variable)
    import platformdirs

    try:
        return platformdirs.user_cache_path("mnistctl")
    except RuntimeError:  # a user without a home folder, as in some containers
        return Path(tempfile.gettempdir(), "mnistctl")


def raw_folder(dataset: Dataset, data_dir: Path | None = None) -> Path:
    """The folder of a dataset's raw files: in the data folder, or inside the package."""
    return data_folder(data_dir) / dataset.folder if dataset.folder else Path(__file__).parent


def is_on_disk(dataset: Dataset, data_dir: Path | None = None) -> bool:
    """Whether all raw files of a dataset are there. They are not verified."""
    folder = raw_folder(dataset, data_dir)
    return all(os.path.isfile(folder / file.name) for file in dataset.files)


def repair_command(dataset: Dataset, data_dir: Path | None) -> str:
    """The command that replaces the damaged files of a dataset."""
    if not dataset.folder:
        return "pip install --force-reinstall mnistctl"
    option = "" if data_dir is None else f" --data-dir {shlex.quote(str(data_dir))}"
    return f"mnistctl download {dataset.name}{option}"


def load(
    name: str,
    split: str,
    *,
    data_dir: Path | None = None,
    validation_size: int | None = None,
    subset: int | None = None,
    split_seed: int = 0,
) -> Split:
    """Load one split of a dataset and verify it. Missing files are downloaded first.

    Args:
        name: a dataset in the catalog, or a folder (see `user_folder`).
        split: "train", "validation" or "test"; some datasets have more.
        data_dir: the data folder; None: the default.
        validation_size: the number of training images to hold out for validation; None: one in 12.
            Pictures in a folder without given splits are split by content hash instead.
        subset: the number of remaining training images to use, with every class in proportion;
            None: all.
        split_seed: selects the images for validation and for the subset. Consecutive seeds hold out
            different images; see `splits.hold_out`.

    Raises:
        UsageError: there is no such dataset or split, or no image would be left for training.
        DataError: files are damaged, do not match each other, or cannot be downloaded.
    """
    check_split(name, split)
    dataset = find_dataset(name)
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
        (test,) = user_folder.load(dataset, ["test"])
        return test
    test = _load_raw_files(dataset, "test", data_dir)
    return test.take(dataset.subsets[split], name=split) if split in dataset.subsets else test


def load_for_training(
    name: str,
    *,
    data_dir: Path | None = None,
    validation_size: int | None = None,
    subset: int | None = None,
    split_seed: int = 0,
) -> tuple[Split, Split]:
    """Load the train and validation splits, as `load` does. No test image is read."""
    dataset = find_dataset(name)
    if isinstance(dataset, Path) and not user_folder.has_given_splits(dataset):
        if validation_size is not None:
            raise UsageError(
                f"--validation-size: {dataset} has no train/ and test/ folders, so its pictures are "
                "split by their content, a tenth of them for validation; add these folders to "
                "choose the size"
            )
        train, validation = user_folder.load(dataset, ["train", "validation"], split_seed=split_seed)
    else:
        if isinstance(dataset, Path):
            (whole,) = user_folder.load(dataset, ["train"])
        else:
            whole = _load_raw_files(dataset, "train", data_dir)
        train_rows, validation_rows = splits.hold_out(
            whole.labels, size=validation_size, split_seed=split_seed
        )
        train = whole.take(train_rows, name="train")
        validation = whole.take(validation_rows, name="validation")
    return _reduce(train, subset, split_seed), validation


def _reduce(train: Split, subset: int | None, split_seed: int) -> Split:
    """Keep `subset` of the training images, with every class in proportion; None: all."""
    if subset is None or subset == len(train.images):
        return train
    if subset > len(train.images):
        raise UsageError(f"--subset {subset:,}: there are only {len(train.images):,} training images")
    _, rows = splits.hold_out(train.labels, size=subset, split_seed=split_seed)
    return train.take(rows, name="train")


def _load_raw_files(dataset: Dataset, split: str, data_dir: Path | None) -> Split:
    """Load "train" or "test" of a dataset in the catalog."""
    folder, raw_files = raw_folder(dataset, data_dir), dataset.split_files[split]
    if not all(os.path.isfile(folder / file.name) for file in raw_files):
        try:
            fetch.fetch(dataset, folder)
        except DownloadError as error:
            raise DownloadError(
                f"{error}, or use '--dataset digits', which needs no download"
            ) from error
    fix = f"run: {repair_command(dataset, data_dir)}"
    raw = [verify.read(folder / file.name, file, fix=fix) for file in raw_files]
    names = [file.name for file in raw_files]
    if unverified := [name for name, file in zip(names, raw, strict=True) if not file.verified]:
        _log.warning(
            f"{', '.join(unverified)} in {folder}: unverified: well-formed, but there is no published "
            "hash to check them against; delete them to download them again"
        )
    if dataset.folder:
        arrays = [idx.parse(file.content, name) for file, name in zip(raw, names, strict=True)]
        images, labels = idx.pair(*arrays, names=names, classes=len(dataset.class_names))
    else:
        images, labels = bundled_digits.unpack(raw[0].content, split)
    sha256 = files.sha256("".join(file.sha256 for file in raw).encode())
    return Split(dataset.name, split, images, labels, dataset.class_names, sha256)
