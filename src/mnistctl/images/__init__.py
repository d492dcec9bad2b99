"""Convert pictures to the 28×28 images that models take. Every command uses this conversion."""

import glob
from collections.abc import Callable, Iterator
from pathlib import Path

from mnistctl.errors import PictureError
from mnistctl.images import center, decode, segment
from mnistctl.images.decode import Grey, Picture
from mnistctl.images.segment import Box, Digit, Scores
from mnistctl.system import files
from mnistctl.types import Images


def read(source: Path | bytes, *, name: str) -> Images:
    """Convert a picture of one digit to an image, uint8 (28, 28), 0 = paper, 255 = ink.

    Args:
        source: a file, or the content of one.
        name: the picture's name in error messages.

    Raises:
        PictureError: see `decode.read`.
        BlankPictureError: the picture has no ink.
    """
    return center.fit(find_ink(decode.read(source, name=name), name=name))


def find_ink(picture: Picture, *, name: str) -> Grey:
    """The ink of a picture: float32 (H, W), 0 = paper, 1 = the ink's usual strength and above.

    Raises:
        BlankPictureError: the picture has no ink.
    """
    from mnistctl.images import ink  # imports OpenCV, 0.1 s, which 28×28 images do not need

    return ink.find(picture.colours, name=name)


def find_digit(picture: Picture, ink: Grey) -> Digit:
    """All the ink of a picture as one digit. Its box is in the pixels of the file."""
    return Digit(_in_file_pixels(segment.box_of(ink), picture), center.fit(ink), 0)


def find_digits(picture: Picture, ink: Grey, *, score: Callable[[Images], Scores]) -> list[Digit]:
    """The digits of a picture in reading order. Their boxes are in the pixels of the file.

    Args:
        picture: the decoded picture.
        ink: its ink, as `find_ink` returns it.
        score: see `segment.split`.
    """
    digits = segment.split(ink, score)
    return [digit._replace(box=_in_file_pixels(digit.box, picture)) for digit in digits]


def _in_file_pixels(box: Box, picture: Picture) -> Box:
    return Box(*(round(side * picture.scale) for side in box))


def find_files(name: str, *, recursive: bool = False) -> list[Path]:
    """List picture files: one file, the pictures in a folder, or the files that match a pattern.

    Args:
        name: a file, a folder, or a pattern with *, ? or **.
        recursive: whether to search a folder's sub-folders too.

    Raises:
        PictureError: the folder cannot be read or has no pictures, or no file matches the pattern.
    """
    path = Path(name)
    if path.is_dir():
        pictures = list(_list_tree(path)) if recursive else list_pictures(path)
        if not pictures:
            raise PictureError(f"{name}: no pictures in this folder")
        return pictures
    if not path.exists() and glob.has_magic(name):
        matches = [Path(match) for match in sorted(glob.glob(name, recursive=True))]
        if not matches:
            raise PictureError(f"{name}: no file matches this pattern")
        return [match for match in matches if match.is_file()]
    return [path]


def list_pictures(folder: Path) -> list[Path]:
    """The picture files in a folder, sorted by name, without hidden files and sub-folders.

    Raises:
        PictureError: the folder cannot be read.
    """
    with files.os_errors_as(PictureError, folder):
        entries = sorted(folder.iterdir())
    return [
        path
        for path in entries
        if path.suffix.lower() in decode.SUFFIXES and path.name[0] != "." and path.is_file()
    ]


def _list_tree(folder: Path) -> Iterator[Path]:
    """The picture files in a folder and all its sub-folders, except hidden and linked folders."""
    yield from list_pictures(folder)
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink() and entry.name[0] != ".":
            yield from _list_tree(entry)
