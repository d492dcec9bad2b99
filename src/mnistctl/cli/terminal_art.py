"""Images as text."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnistctl.types import Images

_SHADES = " ░▒▓█"
_BRAILLE = 0x2800  # the empty cell
BRAILLE_WIDTH = 14  # columns of an image
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # by row and column of a cell


def block_art(image: "Images") -> str:
    """A 28×28 image as 28 lines of 56 characters: two per pixel, denser where there is more ink."""
    rows = (image.astype(int) * (len(_SHADES) - 1) + 127) // 255
    return "\n".join("".join(2 * _SHADES[level] for level in row) for row in rows)


def braille_art(image: "Images") -> list[str]:
    """A 28×28 image as 7 lines of 14 Braille cells: a dot for every pixel with ink."""
    ink = image > 100
    lines = []
    for top in range(0, ink.shape[0], 4):
        cells = (ink[top : top + 4, left : left + 2] for left in range(0, ink.shape[1], 2))
        lines.append("".join(chr(_BRAILLE + int((cell * _DOTS).sum())) for cell in cells))
    return lines
