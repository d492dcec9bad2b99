"""Whatever picture a person has -> the 28×28 image a model reads. One way, for every consumer."""

from pathlib import Path

from mnistctl.images import centring, ink, reading
from mnistctl.predictor import Images


def read(source: Path | bytes, *, name: str) -> Images:
    """Read one picture of one digit as uint8 (28, 28), 0 = paper, 255 = ink.

    Args:
        source: a file, or the bytes of one.
        name: what to call it in an error.

    Raises:
        PictureError: it cannot be read as a picture, is too large, or is blank.
    """
    return centring.fit(ink.find(reading.read_grey(source, name=name), name=name))
