"""`label`: a person's pictures, filed by class as an own dataset, ready to be trained on."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from mnistctl import images
from mnistctl.api.predict import PicturePredictor, PictureResult, open_model
from mnistctl.errors import PictureError, UsageError
from mnistctl.system import files

_log = logging.getLogger(__name__)


class Choice(Enum):
    """What may be done with a picture besides giving its class."""

    SKIP = "skip"
    UNDO = "undo"
    QUIT = "quit"


@dataclass(frozen=True)
class Question:
    """A picture that waits for its class."""

    reading: PictureResult  # with the model's guess
    place: int  # of the picture, counted from 0
    count: int  # of all pictures that wait
    class_names: tuple[str, ...]
    can_undo: bool


Ask = Callable[[Question], str | Choice]


@dataclass(frozen=True)
class LabelResult:
    """What was filed: (picture, its copy, class), in that order."""

    folder: Path
    class_names: tuple[str, ...]
    filed: tuple[tuple[Path, Path, str], ...]
    waited: int  # pictures that had no class before

    def to_json(self) -> dict[str, Any]:
        """Where the pictures are, and how many of each class were filed."""
        counts = {name: sum(label == name for *_, label in self.filed) for name in self.class_names}
        return {"folder": str(self.folder), "filed": len(self.filed), "by_class": counts}


def label(
    folder: Path,
    ask: Ask,
    *,
    output: Path = Path("labelled"),
    model: str | Path | None = None,
    recursive: bool = False,
    arch: str | None = None,
) -> LabelResult:
    """Go through a folder of pictures and file a copy of each in the sub-folder of its class.

    What was filed before, by the SHA-256 of the file, is not asked again.

    Args:
        folder: where the pictures are; they stay as they are.
        ask: gives a picture's class, or what else to do; asked once a picture, and again after UNDO.
        output: where the copies go.
        model: what guesses; see `models.find`.
        recursive: whether folders in the folder are looked into.
        arch: FILE.py:CLASS, for a model of a person's own class.

    Raises:
        UsageError: no such folder, or an answer that is no class.
        ModelError: no such model, or it cannot be opened.
        WriteError: a copy cannot be written.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: not a folder")
    reader = open_model(model, reject=False, arch=arch)
    class_names = tuple(reader.predictor.metadata.class_names)
    waiting = list(_waiting(folder, output, recursive=recursive))
    filed: list[tuple[Path, Path, str]] = []
    place = 0
    while place < len(waiting):
        reading = _guess(reader, waiting[place])
        if reading.error is not None:
            _log.warning(reading.error)
            place += 1
            continue
        answer = ask(Question(reading, place, len(waiting), class_names, bool(filed)))
        if answer is Choice.QUIT:
            break
        if answer is Choice.UNDO:
            if filed:
                picture, copy, _ = filed.pop()
                files.remove(copy)
                with contextlib.suppress(OSError):  # it holds others
                    copy.parent.rmdir()
                place = waiting.index(picture)
        elif answer is Choice.SKIP:
            place += 1
        elif answer in class_names:
            filed.append((waiting[place], _file(waiting[place], output / str(answer)), str(answer)))
            place += 1
        else:
            raise UsageError(f"unknown class '{answer}'; known: {', '.join(class_names)}")
    return LabelResult(output, class_names, tuple(filed), len(waiting))


def _waiting(folder: Path, output: Path, *, recursive: bool) -> Iterator[Path]:
    """The pictures in a folder that are not filed yet."""
    copies = [path for path in output.rglob("*") if path.is_file()] if output.is_dir() else []
    known = {files.sha256(_content(path)) for path in copies}
    inside = output.resolve()
    for path in images.find_files(str(folder), recursive=recursive):
        if inside not in path.resolve().parents and files.sha256(_content(path)) not in known:
            yield path


def _guess(reader: PicturePredictor, picture: Path) -> PictureResult:
    (reading,) = reader.read([picture])
    return reading


def _file(picture: Path, folder: Path) -> Path:
    """Copy a picture into a folder, under a name that is free."""
    files.make_folder(folder)
    path = folder / picture.name
    number = 1
    while path.exists():  # another picture of the same name
        number += 1
        path = folder / f"{picture.stem}-{number}{picture.suffix}"
    files.write_bytes(path, _content(picture))
    return path


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PictureError(f"{path}: {error.strerror or error}") from error
