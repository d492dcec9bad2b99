"""A person's own data: a folder of pictures, one sub-folder a class; or a folder of IDX files."""

import functools
import hashlib
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mnistctl import images
from mnistctl.datasets import idx, splits
from mnistctl.errors import DataError, PictureError
from mnistctl.system import files
from mnistctl.types import Images

_log = logging.getLogger(__name__)

MIN_CLASSES, MAX_CLASSES = 2, 100
_IDX_NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


@dataclass(frozen=True)
class Part:
    """Labelled images, and the SHA-256 of the files they come from."""

    images: Images
    labels: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    sha256: str


def load(folder: Path, parts: Collection[str]) -> dict[str, Part]:
    """Load parts of a folder: "train" and "test", and "validation" where it has no given splits.

    Args:
        folder: one sub-folder a class; or `train/` and `test/` with those in them; or IDX files
            named like MNIST's, packed or not.
        parts: which to load; the pictures of others are not decoded.

    Raises:
        DataError: none of these layouts, not 2 to 100 classes, or a part without images.
    """
    if _has_idx(folder):
        return {part: _load_idx(folder, part) for part in parts}
    if not has_given_splits(folder):
        return _load_pictures(folder, _class_names(folder), parts, splits.by_content)
    class_names = _class_names(folder / "train")
    if strange := _sub_folders(folder / "test") - set(class_names):
        raise DataError(f"{folder / 'test'}: class '{min(strange)}' is not in train")
    loaded: dict[str, Part] = {}
    for part in parts:
        loaded |= _load_pictures(folder / part, class_names, {part}, functools.partial(_always, part))
    return loaded


def has_given_splits(folder: Path) -> bool:
    """Whether a folder says itself which images are for testing."""
    return _has_idx(folder) or all((folder / part).is_dir() for part in ("train", "test"))


def _always(part: str, sha256: str) -> str:
    return part


def _class_names(folder: Path) -> tuple[str, ...]:
    """The classes: numbers in the order of their size, words in that of the alphabet."""
    names = _sub_folders(folder)
    if not MIN_CLASSES <= len(names) <= MAX_CLASSES:
        raise DataError(
            f"{folder}: {len(names)} sub-folders; expected one a class, {MIN_CLASSES} to "
            f"{MAX_CLASSES} of them, or train/ and test/ with those in them, or IDX files"
        )
    if empty := [name for name in names if not images.in_folder(folder / name)]:
        raise DataError(f"{folder / min(empty)}: a class without pictures")
    return tuple(sorted(names, key=_order))


def _order(name: str) -> tuple[bool, int, str]:
    return (False, int(name), name) if name.isdecimal() else (True, 0, name)


def _sub_folders(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._"}
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror or error}") from error


def _load_pictures(
    folder: Path,
    class_names: tuple[str, ...],
    parts: Collection[str],
    part_of: Callable[[str], str],
) -> dict[str, Part]:
    """The pictures that belong to these parts, by the SHA-256 of their files."""
    found: dict[str, list[tuple[Images, int]]] = {part: [] for part in parts}
    digests = {part: hashlib.sha256() for part in parts}
    unread: list[PictureError] = []
    for label, name in enumerate(class_names):
        for path in images.in_folder(folder / name):
            content = _read(path)
            sha256 = files.sha256(content)
            part = part_of(sha256)
            if part not in parts:
                continue
            try:
                found[part].append((images.read(content, name=str(path)), label))
            except PictureError as error:
                unread.append(error)
            else:
                digests[part].update(f"{name}/{sha256}\n".encode(errors="surrogateescape"))
    if unread:
        _log.warning(
            f"left out, since they cannot be read: {len(unread)} of the pictures; the first: "
            f"{unread[0]}"
        )
    for part, pictures in found.items():
        if not pictures:
            raise DataError(f"{folder}: no pictures for {part}; add more")
    learned = {label for _, label in found.get("train", [])}
    if "train" in parts and len(learned) < len(class_names):
        without = [name for label, name in enumerate(class_names) if label not in learned]
        _log.warning(f"{folder}: no picture to learn from for {', '.join(without)}; add more")
    return {
        part: Part(
            np.stack([image for image, _ in pictures]),
            np.array([label for _, label in pictures], dtype=np.int64),
            class_names,
            digests[part].hexdigest(),
        )
        for part, pictures in found.items()
    }


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


def _has_idx(folder: Path) -> bool:
    return _idx_file(folder, _IDX_NAMES["train"][0]) is not None


def _idx_file(folder: Path, name: str) -> Path | None:
    found = (folder / candidate for candidate in (name, f"{name}.gz"))
    return next((path for path in found if path.is_file()), None)


def _read_idx(folder: Path, name: str) -> tuple[npt.NDArray[Any], str]:
    """An IDX file's array, and the SHA-256 of the file."""
    path = _idx_file(folder, name)
    if path is None:
        raise DataError(f"{folder}: has neither {name} nor {name}.gz")
    content = _read(path)
    return idx.parse_any(content, str(path)), files.sha256(content)


def _load_idx(folder: Path, part: str) -> Part:
    names = _IDX_NAMES[part]
    (pixels, images_hash), (labels, labels_hash) = (_read_idx(folder, name) for name in names)
    known = labels if part == "train" else _read_idx(folder, _IDX_NAMES["train"][1])[0]
    classes = 1 + int(known[:, 0].max(initial=0) if known.ndim == 2 else known.max(initial=0))
    if not MIN_CLASSES <= classes <= MAX_CLASSES:
        raise DataError(
            f"{folder}: labels up to {classes - 1}; expected {MIN_CLASSES} to {MAX_CLASSES} classes"
        )
    return Part(
        *idx.pair(pixels, labels, names=names, classes=classes),
        tuple(map(str, range(classes))),
        files.sha256(f"{images_hash}{labels_hash}".encode()),
    )
