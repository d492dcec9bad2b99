"""The `label` command: copy pictures into a folder per class, which is then a dataset to train on."""

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from mnistctl import images
from mnistctl.api.predict import PictureResult, open_model
from mnistctl.errors import PictureError, UsageError
from mnistctl.system import files
from mnistctl.types import Result

_log = logging.getLogger(__name__)


class Choice(Enum):
    """What can be done with a picture instead of labelling it."""

    SKIP = "skip"
    UNDO = "undo"
    QUIT = "quit"


@dataclass(frozen=True)
class Question:
    """A picture to label."""

    result: PictureResult  # with the model's prediction
    index: int  # of the picture, from 0
    count: int  # pictures to label in all
    class_names: tuple[str, ...]
    can_undo: bool


Ask = Callable[[Question], str | Choice]


@dataclass(frozen=True)
class LabelResult(Result):
    """The pictures that were labelled."""

    folder: Path  # the folder with a sub-folder per class
    class_names: tuple[str, ...]  # not in the JSON, which has `by_class`: pictures per class
    filed: tuple[tuple[Path, Path, str], ...]  # (picture, its copy, class); the JSON has their number
    unlabelled: int  # pictures without a label before; not in the JSON

    def to_json(self) -> dict[str, Any]:
        """The folder, the number of labelled pictures, and their number per class."""
        counts = Counter(label for *_, label in self.filed)
        by_class = {name: counts[name] for name in self.class_names}
        return {"folder": str(self.folder), "filed": len(self.filed), "by_class": by_class}


def label(
    folder: Path,
    ask: Ask,
    *,
    output: Path = Path("labelled"),
    model: str | Path | None = None,
    recursive: bool = False,
    arch: str | None = None,
) -> LabelResult:
    """Ask for the label of each picture in a folder, and copy it to the sub-folder of that class.

    Pictures that are already in the output folder, by the SHA-256 of the file, are skipped.

    Args:
        folder: the folder with the pictures; they are not changed.
        ask: returns a picture's class or a `Choice`. It is called once for each picture, and again
            after `Choice.UNDO`.
        output: the folder for the copies.
        model: the model that suggests labels; see `models.find_model`.
        recursive: whether to search sub-folders too.
        arch: FILE.py:CLASS, for a model of a custom architecture.

    Raises:
        UsageError: the folder is not found, or `ask` returned an unknown class.
        ModelError: the model is not found, or cannot be opened.
        WriteError: a copy cannot be written.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: not a folder")
    predictor = open_model(model, reject=False, arch=arch)
    class_names = tuple(predictor.predictor.metadata.class_names)
    pictures = list(_list_unlabelled(folder, output, recursive=recursive))
    filed: list[tuple[Path, Path, str]] = []
    index = 0
    while index < len(pictures):
        picture = pictures[index]
        (result,) = predictor.read([picture])
        if result.error is not None:
            _log.warning(result.error)
            index += 1
            continue
        answer = ask(Question(result, index, len(pictures), class_names, bool(filed)))
        if answer is Choice.QUIT:
            break
        if answer is Choice.UNDO:
            if filed:
                previous, copy, _ = filed.pop()
                _remove(copy)
                index = pictures.index(previous)
        elif answer is Choice.SKIP:
            index += 1
        elif answer in class_names:
            filed.append((picture, _copy(picture, output / str(answer)), str(answer)))
            index += 1
        else:
            raise UsageError(f"unknown class '{answer}'; classes: {', '.join(class_names)}")
    return LabelResult(output, class_names, tuple(filed), len(pictures))


def _list_unlabelled(folder: Path, output: Path, *, recursive: bool) -> Iterator[Path]:
    """The pictures in a folder that are not in the output folder yet."""
    copies = [path for path in output.rglob("*") if path.is_file()] if output.is_dir() else []
    hashes = {_sha256(path) for path in copies}
    for path in images.find_files(str(folder), recursive=recursive):
        if output.resolve() not in path.resolve().parents and _sha256(path) not in hashes:
            yield path


def _sha256(path: Path) -> str:
    return files.sha256(files.read_bytes(path, PictureError))


def _copy(picture: Path, folder: Path) -> Path:
    files.make_folder(folder)
    path = files.unused_path(folder / picture.name)  # another picture may have this name
    files.write_bytes(path, files.read_bytes(picture, PictureError))
    return path


def _remove(copy: Path) -> None:
    """Remove a copy, and the folder of its class if that is then empty."""
    files.remove(copy)
    with contextlib.suppress(OSError):  # the folder is not empty
        copy.parent.rmdir()
