"""Digits and letters of open fonts, in the package as pictures.

`scripts/build_font_sheets.py` draws them. A sheet has a row per font family, with its ten digits and
then some of its letters, none of which looks like a digit. `docs/reference/fonts.md` lists the
families and their licences.
"""

from functools import cache
from importlib import resources
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

CELL = 44  # pixels: side of the square that a character fills with its longer side
LETTERS = 12  # per family

HANDWRITING, PRINT = "handwriting", "print"  # the sheets

Shapes = npt.NDArray[np.bool_]  # (families, characters, 44, 44): where the ink is


class Sheet(NamedTuple):
    """Characters of F font families."""

    digits: Shapes  # (F, 10, 44, 44)
    letters: Shapes  # (F, 12, 44, 44)


@cache
def load(name: str) -> Sheet:
    """A sheet of the package: "handwriting" or "print"."""
    file = resources.files("mnistctl.pages") / f"font-{name}.png"
    pixels = cv2.imdecode(np.frombuffer(file.read_bytes(), dtype=np.uint8), cv2.IMREAD_GRAYSCALE)
    rows, columns = (side // CELL for side in pixels.shape)
    cells = pixels.reshape(rows, CELL, columns, CELL).transpose(0, 2, 1, 3) > 0
    return Sheet(cells[:, :10], cells[:, 10:])
