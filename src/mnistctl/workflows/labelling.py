"""`label`: a person's pictures, filed by class as an own dataset, ready to be trained on."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mnistctl import files, images
from mnistctl.errors import PictureError, UsageError
from mnistctl.watcher import SILENT, Watcher
from mnistctl.workflows.predicting import PictureReader, Reading


@dataclass
class Labelling:
    """Pictures that wait for a label, and where they go: a copy in the sub-folder of their class.

    What was filed before, by the SHA-256 of the file, is not asked again.
    """

    reader: PictureReader
    output: Path
    class_names: list[str]
    # What was filed now, the latest last: (picture, its copy, class).
    filed: list[tuple[Path, Path, str]] = field(default_factory=list)

    def waiting(self, folder: Path, *, recursive: bool = False) -> list[Path]:
        """The pictures in a folder that are not filed yet.

        Raises:
            PictureError: the folder cannot be read, or has no pictures.
        """
        if not folder.is_dir():
            raise UsageError(f"{folder}: not a folder")
        known = {files.sha256(path.read_bytes()) for path in _below(self.output)}
        found = images.find_files(str(folder), recursive=recursive)
        inside = self.output.resolve()
        return [
            path
            for path in found
            if inside not in path.resolve().parents and files.sha256(_content(path)) not in known
        ]

    def read(self, pictures: list[Path], watcher: Watcher = SILENT) -> Iterator[Reading]:
        """The model's guess for each; one that cannot be read has its error."""
        return self.reader.read([str(path) for path in pictures], watcher=watcher)

    def file(self, picture: Path, label: str) -> Path:
        """Copy a picture into its class's folder.

        Raises:
            UsageError: there is no such class.
            WriteError: it cannot be written.
        """
        if label not in self.class_names:
            raise UsageError(f"unknown class '{label}'; known: {', '.join(self.class_names)}")
        folder = self.output / label
        files.make_folder(folder)
        path = folder / picture.name
        number = 1
        while path.exists():  # another picture of the same name
            number += 1
            path = folder / f"{picture.stem}-{number}{picture.suffix}"
        files.write_bytes(path, _content(picture))
        self.filed.append((picture, path, label))
        return path

    def undo(self) -> Path:
        """Take back the latest; the picture that it was."""
        picture, copy, _ = self.filed.pop()
        files.remove(copy)
        return picture

    def to_json(self) -> dict[str, Any]:
        """Where the pictures are, and how many of each class were filed."""
        counts = {name: sum(label == name for *_, label in self.filed) for name in self.class_names}
        return {"folder": str(self.output), "filed": len(self.filed), "by_class": counts}


def _below(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.rglob("*") if path.is_file())


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PictureError(f"{path}: {error.strerror or error}") from error
