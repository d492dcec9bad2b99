"""A folder of the user's own pictures of numbers, to adapt a detector of digits to."""

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnistctl import datasets
from mnistctl.api import picture_requests
from mnistctl.datasets import Split, splits, user_folder
from mnistctl.errors import DataError, PictureError
from mnistctl.images import decode
from mnistctl.models.checkpoint import Checkpoint
from mnistctl.run import progress
from mnistctl.settings import architectures
from mnistctl.system import files

if TYPE_CHECKING:
    from mnistctl.pages.labelled import LabelledPicture

_log = logging.getLogger(__name__)

_MIN_PICTURES = 60  # with fewer, none are held out
_CLASS_NAMES = tuple("0123456789")


def are_in(dataset: str | None, *, arch: str) -> bool:
    """Whether a dataset is a folder of pictures of numbers, and the architecture a detector.

    Raises:
        UsageError: there is no such dataset.
    """
    if dataset is None or architectures.task_of(arch) != architectures.NUMBERS:
        return False
    folder = datasets.find_dataset(dataset)
    return isinstance(folder, Path) and user_folder.labels_file(folder).is_file()


def add_to_splits(
    train: Split, validation: Split, folder: Path, *, model: Checkpoint, split_seed: int
) -> tuple[Split, Split]:
    """Add the pictures of a folder to the splits of whose images pages are composed.

    Args:
        train: gets those pictures in which the detector finds enough digits.
        validation: gets one picture in 12, if there are 60 or more.
        folder: has a file `labels.csv`; see `picture_requests.read_labels`.
        model: the detector.
        split_seed: selects the pictures for validation.

    Raises:
        DataError: `labels.csv` or a picture cannot be read, a label is not a number, or the detector
            finds the digits of no picture.
    """
    import torch

    from mnistctl.nn import torch_page_predictor
    from mnistctl.pages import labelled  # OpenCV, 0.1 s

    pictures, sha256 = _read(user_folder.labels_file(folder))
    train_rows, held_out = np.arange(len(pictures)), np.arange(0)
    if len(pictures) >= _MIN_PICTURES:
        labels = np.zeros(len(pictures), dtype=np.int64)
        train_rows, held_out = splits.hold_out(labels, size=None, split_seed=split_seed)
    detector = torch_page_predictor.from_checkpoint(model, device=torch.device("cpu"))
    with_boxes = []
    for row in train_rows:
        with_boxes.append(labelled.find_boxes(pictures[row], detector))
        progress.current().advance("finding digits", len(with_boxes), len(train_rows))
    aligned = [picture for picture in with_boxes if picture is not None]
    skipped = len(with_boxes) - len(aligned)
    _log.info(
        f"{folder}: trains on {len(aligned)} pictures; {len(held_out)} are held out; {skipped} are "
        "skipped, because the model does not find all digits of their labels in a line"
    )
    if not aligned:
        raise DataError(f"{folder}: {model.path} finds the digits of none of the pictures")
    return (
        dataclasses.replace(train, pictures=aligned, pictures_sha256=sha256),
        dataclasses.replace(validation, pictures=[pictures[row] for row in held_out]),
    )


def _read(file: Path) -> tuple[list["LabelledPicture"], str]:
    """The pictures that a file with labels names, without boxes; and the SHA-256 of all."""
    from mnistctl.pages import labelled

    numbers = picture_requests.read_labels(file, _CLASS_NAMES, numbers=True).by_path
    pictures, hashes = [], []
    for path, number in numbers.items():
        name, _, page = path.rpartition("#page=") if "#page=" in path else (path, "", "")
        if page and not (page.isdecimal() and int(page)):
            raise DataError(f"{file}: {path}: expected a page number from 1 after #page=")
        try:
            content = files.read_bytes(Path(name), PictureError)
            picture = decode.read(content, name=path, page=int(page) if page else None)
        except PictureError as error:
            raise DataError(f"{file}: {error}") from error
        pictures.append(labelled.prepare(picture, number))
        hashes.append(f"{files.sha256(content)} {number}\n")
        progress.current().advance("reading pictures", len(pictures), len(numbers))
    if not pictures:
        raise DataError(f"{file}: no labels")
    return pictures, files.sha256("".join(hashes).encode())
