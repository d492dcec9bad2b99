"""Whatever picture a person has -> the 28×28 images a model reads. One way, for every consumer."""

import glob
from collections.abc import Callable, Iterator
from pathlib import Path

from mnistctl.errors import PictureError
from mnistctl.images import center, decode
from mnistctl.images.decode import Grey, Picture
from mnistctl.images.segment import Box, Digit, Scores, box_of, split
from mnistctl.types import Images


def read(source: Path | bytes, *, name: str) -> Images:
    """Read one picture of one digit as uint8 (28, 28), 0 = paper, 255 = ink.

    Args:
        source: a file, or the bytes of one.
        name: what to call it in an error.

    Raises:
        PictureError: it cannot be read as a picture, or is too large.
        BlankPictureError: nothing on it stands out from the paper.
    """
    return find_digit(source, name=name).image


def find_digit(source: Path | bytes, *, name: str) -> Digit:
    """All the ink of a picture as one digit; its box is in the picture's own pixels.

    Raises:
        PictureError: see `read`.
    """
    picture, found = look(source, name=name)
    return Digit(_enlarged(box_of(found), picture), center.fit(found), 0)


def find_digits(source: Path | bytes, *, name: str, score: Callable[[Images], Scores]) -> list[Digit]:
    """The digits of a picture, in reading order; their boxes are in the picture's own pixels.

    Args:
        source: a file, or the bytes of one.
        name: what to call it in an error.
        score: the log-likelihood that each of N images, uint8 (N, 28, 28), is one whole digit.

    Raises:
        PictureError: see `read`.
    """
    picture, found = look(source, name=name)
    return [digit._replace(box=_enlarged(digit.box, picture)) for digit in split(found, score)]


def look(source: Path | bytes, *, name: str) -> tuple[Picture, Grey]:
    """A picture, upright and at most 1,024 pixels long, and its ink, float32 (H, W) in [0, 1].

    Raises:
        PictureError: see `read`.
    """
    from mnistctl.images import ink  # OpenCV, 0.1 s, and whoever has 28×28 images needs none

    picture = decode.read(source, name=name)
    return picture, ink.find(picture.colours, name=name)


def _enlarged(box: Box, picture: Picture) -> Box:
    return Box(*(round(side * picture.scale) for side in box))


def find_files(name: str, *, recursive: bool = False) -> list[Path]:
    """The pictures that a name means: a file, the pictures in a folder, or what a pattern matches.

    Args:
        name: of a file or a folder; or a pattern with *, ? or ** that no file is called.
        recursive: whether folders inside a folder are looked into.

    Raises:
        PictureError: nothing is there, or a folder cannot be read or has no pictures.
    """
    path = Path(name)
    if path.is_dir():
        found = list(_below(path)) if recursive else in_folder(path)
        if not found:
            raise PictureError(f"{name}: a folder without pictures")
        return found
    if not path.exists() and glob.has_magic(name):
        matches = [Path(match) for match in sorted(glob.glob(name, recursive=True))]
        if not matches:
            raise PictureError(f"{name}: no file matches this pattern")
        return [match for match in matches if match.is_file()]
    return [path]


def in_folder(folder: Path) -> list[Path]:
    """The pictures that lie in a folder, in the order of their names; hidden ones are left out.

    Raises:
        PictureError: the folder cannot be read.
    """
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise PictureError(f"{folder}: {error.strerror or error}") from error
    return [
        path
        for path in inside
        if path.suffix.lower() in decode.SUFFIXES and path.name[0] != "." and path.is_file()
    ]


def _below(folder: Path) -> Iterator[Path]:
    """The pictures in a folder and in all folders below it, links to folders left out."""
    yield from in_folder(folder)
    for inner in sorted(folder.iterdir()):
        if inner.is_dir() and not inner.is_symlink() and inner.name[0] != ".":
            yield from _below(inner)
