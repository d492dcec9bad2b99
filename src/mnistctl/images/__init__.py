"""Convert pictures to the 28×28 images that models take. Every command uses this conversion."""

from pathlib import Path

from mnistctl.images import center, decode
from mnistctl.images.decode import Grey, Picture
from mnistctl.images.digit import Box, Digit, box_of
from mnistctl.images.find import find_files as find_files
from mnistctl.images.find import list_pictures as list_pictures
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
    box = Box(*(round(side * picture.scale) for side in box_of(ink)))
    return Digit(box, center.fit(ink))
