"""Load a user's own data: a folder of pictures with one sub-folder per class, or IDX files."""

import hashlib
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mnistctl import images
from mnistctl.datasets import idx, splits
from mnistctl.datasets.splits import Split
from mnistctl.errors import DataError, PictureError
from mnistctl.images import find
from mnistctl.system import files
from mnistctl.types import Images

_log = logging.getLogger(__name__)

MIN_CLASSES, MAX_CLASSES = 2, 100
_PICTURES_PER_CLASS = 30  # so that a split by content hardly ever lacks a class
_IDX_NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def load(folder: Path, names: Collection[str], *, split_seed: int = 0) -> list[Split]:
    """Load splits of a folder.

    Args:
        folder: with one sub-folder per class; or with `train/` and `test/` that contain them; or with
            IDX files named like MNIST's, packed or not.
        names: "train" and "test", and "validation" if the folder has no given splits. The pictures
            of other splits are not decoded.
        split_seed: selects the pictures for validation, if the folder has no given splits.

    Raises:
        DataError: the folder has none of these layouts, or not 2 to 100 classes, or a split has no
            images.
    """
    if _has_idx(folder):
        return [_load_idx(folder, name) for name in names]
    if not has_given_splits(folder):
        return _load_pictures(folder, folder, _class_names(folder), names, split_seed=split_seed)
    class_names = _class_names(folder / "train")
    if unknown := _sub_folders(folder / "test") - set(class_names):
        raise DataError(f"{folder / 'test'}: class '{min(unknown)}' is not in train")
    loaded: list[Split] = []
    for name in names:
        loaded += _load_pictures(folder, folder / name, class_names, [name], given_split=name)
    return loaded


def labels_file(folder: Path) -> Path:
    """The file with the numbers of the pictures in a folder, if it has such pictures."""
    return folder / "labels.csv"


def has_given_splits(folder: Path) -> bool:
    """Whether the user has chosen the test images: the folder has `train/` and `test/`, or is IDX."""
    return _has_idx(folder) or all((folder / name).is_dir() for name in ("train", "test"))


def _class_names(folder: Path) -> tuple[str, ...]:
    """The names of the classes: numbers by size, then words alphabetically."""
    names = _sub_folders(folder)
    if not names and labels_file(folder).is_file():
        raise DataError(
            f"{folder}: labels.csv is for whole numbers: train on it with --recipe numbers --init "
            "bundled-numbers; for single digits, use one sub-folder per class"
        )
    if not MIN_CLASSES <= len(names) <= MAX_CLASSES:
        raise DataError(
            f"{folder}: {len(names)} sub-folders; expected one per class ({MIN_CLASSES} to "
            f"{MAX_CLASSES} classes), or train/ and test/ with these in them, or IDX files, or, for "
            "--recipe numbers, labels.csv"
        )
    if unprintable := [name for name in names if not name.isprintable()]:
        raise DataError(
            f"{folder}: the class {min(unprintable)!a} has characters that cannot be printed; "
            "rename the folder"
        )
    if empty := [name for name in names if not images.list_pictures(folder / name)]:
        raise DataError(f"{folder / min(empty)}: this class has no pictures")
    return tuple(sorted(names, key=_sort_key))


def _sort_key(name: str) -> tuple[bool, int, str]:
    return (False, int(name), name) if name.isdecimal() else (True, 0, name)


def _sub_folders(folder: Path) -> set[str]:
    with files.os_errors_as(DataError, folder):
        return {path.name for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._"}


def _load_pictures(
    dataset: Path,
    folder: Path,
    class_names: tuple[str, ...],
    names: Collection[str],
    given_split: str | None = None,
    *,
    split_seed: int = 0,
) -> list[Split]:
    """Load the pictures that belong to some splits.

    Args:
        dataset: the folder that the user named.
        folder: the folder with one sub-folder per class.
        class_names: the names of the sub-folders.
        names: the splits to load.
        given_split: the split of all the pictures; None: it depends on their content.
        split_seed: see `load`.
    """
    pictures: dict[str, list[tuple[Images, int]]] = {name: [] for name in names}
    digests = {name: hashlib.sha256() for name in names}
    errors: list[PictureError] = []
    others: list[Path] = []
    for label, class_name in enumerate(class_names):
        hashes: dict[Path, str] = {}
        listing = find.list_folder(folder / class_name)
        others += listing.others
        for path in listing.pictures:
            try:
                hashes[path] = files.sha256(files.read_bytes(path, PictureError))
            except PictureError as error:
                errors.append(error)
        split_names = splits.of_class(hashes.values(), split_seed=split_seed)
        for path, sha256 in hashes.items():
            name = given_split or split_names[sha256]
            if name not in pictures:
                continue
            try:
                pictures[name].append((images.read(path, name=str(path)), label))
            except PictureError as error:
                errors.append(error)
            else:
                digests[name].update(f"{class_name}/{sha256}\n".encode(errors="surrogateescape"))
    _check_pictures(folder, class_names, pictures, errors)
    if others:
        _log.info(f"{folder}: skipped {find.count_kinds(others)}")
    return [
        Split(
            str(dataset),
            name,
            np.stack([image for image, _ in labelled]),
            np.array([label for _, label in labelled], dtype=np.int64),
            class_names,
            digests[name].hexdigest(),
        )
        for name, labelled in pictures.items()
    ]


def _check_pictures(
    folder: Path,
    class_names: tuple[str, ...],
    pictures: Mapping[str, list[tuple[Images, int]]],
    errors: list[PictureError],
) -> None:
    """Warn of skipped pictures and of classes without training pictures; reject an empty split."""
    for name, labelled in pictures.items():
        if not labelled:
            unread = (
                f"; {len(errors):,} pictures could not be read, first: {errors[0]}" if errors else ""
            )
            raise DataError(
                f"{folder}: no pictures for the {name} split; add more: it gets one in ten, so "
                f"{_PICTURES_PER_CLASS} per class are usually enough{unread}"
            )
    if errors:
        _log.warning(
            f"pictures that could not be read and were skipped: {len(errors):,}; first: {errors[0]}"
        )
    if "train" in pictures:
        present = {label for _, label in pictures["train"]}
        missing = [name for label, name in enumerate(class_names) if label not in present]
        if missing:
            _log.warning(f"{folder}: no training pictures of {', '.join(missing)}; add more")


def _has_idx(folder: Path) -> bool:
    return _idx_path(folder, _IDX_NAMES["train"][0]) is not None


def _idx_path(folder: Path, name: str) -> Path | None:
    candidates = (folder / name, folder / f"{name}.gz")
    return next((path for path in candidates if path.is_file()), None)


def _read_idx(folder: Path, name: str) -> tuple[npt.NDArray[Any], str]:
    """The array in an IDX file, and the SHA-256 of the file."""
    path = _idx_path(folder, name)
    if path is None:
        raise DataError(f"{folder}: neither {name} nor {name}.gz found")
    content = files.read_bytes(path, limit_bytes=files.LARGE_LIMIT_BYTES)
    return idx.parse_any(content, str(path)), files.sha256(content)


def _load_idx(folder: Path, name: str) -> Split:
    file_names = _IDX_NAMES[name]
    pixels, images_hash = _read_idx(folder, file_names[0])
    labels, labels_hash = _read_idx(folder, file_names[1])
    # The training labels define the classes of the test images too.
    all_labels = labels if name == "train" else _read_idx(folder, _IDX_NAMES["train"][1])[0]
    if all_labels.ndim == 2 and all_labels.shape[1]:
        all_labels = all_labels[:, 0]
    classes = 1 + int(all_labels.max(initial=0))
    if not MIN_CLASSES <= classes <= MAX_CLASSES:
        raise DataError(
            f"{folder}: labels up to {classes - 1}; expected {MIN_CLASSES} to {MAX_CLASSES} classes"
        )
    return Split(
        str(folder),
        name,
        *idx.pair(pixels, labels, names=file_names, classes=classes),
        tuple(map(str, range(classes))),
        files.sha256(f"{images_hash}{labels_hash}".encode()),
    )
