"""Whatever picture a person has -> the 28×28 image a model reads. One way, for every consumer."""

from pathlib import Path

from mnistctl.errors import PictureError
from mnistctl.images import centring, ink, reading
from mnistctl.predictor import Images


def read(source: Path | bytes, *, name: str) -> Images:
    """Read one picture of one digit as uint8 (28, 28), 0 = paper, 255 = ink.

    Args:
        source: a file, or the bytes of one.
        name: what to call it in an error.

    Raises:
        PictureError: it cannot be read as a picture, or is too large.
        BlankPictureError: nothing on it stands out from the paper.
    """
    return centring.fit(ink.find(reading.read(source, name=name), name=name))


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
        if path.suffix.lower() in reading.SUFFIXES and path.name[0] != "." and path.is_file()
    ]
