"""The `label` command: copy pictures into a folder per class, which is then a dataset to train on."""

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from mnistctl import images
from mnistctl.api.picture_results import PictureResult
from mnistctl.api.predict import open_model
from mnistctl.errors import PictureError, UsageError, printable
from mnistctl.system import files
from mnistctl.types import Result

_log = logging.getLogger(__name__)

_MAX_CLASS_BYTES = 100


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
    suggestion: str | None  # the predicted class; None: it is not in `class_names`
    can_undo: bool
    can_add: bool  # whether an answer may be a new class


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
    classes: Sequence[str] | None = None,
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
        classes: the only possible classes; None: those of the model and of the output folder, and new
            ones that `ask` returns.
        model: the model that suggests labels; see `models.find_model`.
        recursive: whether to search sub-folders too.
        arch: FILE.py:CLASS, for a model of a custom architecture.

    Raises:
        UsageError: the folder is not found, a class cannot be the name of a folder, or `ask` returned
            one that is not in `classes`.
        ModelError: the model is not found, or cannot be opened.
        WriteError: a copy cannot be written.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: not a folder")
    predictor = open_model(model, reject=False, arch=arch)
    model_classes = predictor.metadata.class_names
    class_names = tuple(dict.fromkeys(classes or (*model_classes, *_list_classes(output))))
    for name in class_names:
        check_class(name)
    pictures = list(_list_unlabelled(folder, output, recursive=recursive))
    history: list[tuple[int, Path | None, str]] = []  # index, copy (None: skipped) and class
    index = 0
    while index < len(pictures):
        (result,) = predictor.read([pictures[index]])
        if result.error is not None:
            _log.warning(result.error)
            index += 1
            continue
        predicted = result.digits[0].prediction.label
        answer = ask(
            Question(
                result=result,
                index=index,
                count=len(pictures),
                class_names=class_names,
                suggestion=predicted if predicted in class_names else None,
                can_undo=bool(history),
                can_add=classes is None,
            )
        )
        if answer is Choice.QUIT:
            break
        if answer is Choice.UNDO:
            if history:
                index, copy, _ = history.pop()
                if copy is not None:
                    _remove(copy)
            continue
        copy = None
        if isinstance(answer, str):
            if answer not in class_names and classes is not None:
                raise UsageError(f"unknown class '{answer}'; classes: {', '.join(class_names)}")
            check_class(answer)
            class_names = tuple(dict.fromkeys((*class_names, answer)))
            copy = _copy(pictures[index], output / answer)
        history.append((index, copy, str(answer)))
        index += 1
    filed = tuple((pictures[index], copy, name) for index, copy, name in history if copy is not None)
    return LabelResult(output, class_names, filed, len(pictures))


def check_class(name: str) -> None:
    """Check that a class can be the name of a folder of pictures.

    Raises:
        UsageError: it cannot.
    """
    is_folder = name.isprintable() and name == name.strip() and not {*"/\\:"} & {*name}
    if not is_folder or name.startswith((".", "_")) or not 1 <= len(name.encode()) <= _MAX_CLASS_BYTES:
        raise UsageError(
            f"class '{printable(name)[:_MAX_CLASS_BYTES]}' cannot be the name of a folder of pictures; "
            "choose other names: --classes A,B"
        )


def _list_classes(output: Path) -> list[str]:
    """The sub-folders of the output folder, which are the classes of earlier sessions."""
    return sorted(folder.name for folder in output.glob("*/") if folder.name[0] not in "._")


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
