"""What all plots share: new figures, the files that they are written to, colours, and names to draw.

The colours are those of Okabe and Ito, which are distinguishable with colour blindness. No information
is given by colour alone.
"""

import functools
import io
import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistctl.errors import UsageError, printable
from mnistctl.system import files
from mnistctl.types import Images

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FONT_SIZE = 12  # points; readable at half size
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
RIGHT, WRONG = COLOURS[:2]
_DPI = 150
_MAX_NAME_LENGTH = 24  # characters
# Suffix of a plot's file -> its metadata, without the date: the same plot gives the same bytes.
_METADATA: dict[str, dict[str, Any]] = {
    ".png": {},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}


def check_output(path: Path | None, option: str = "--output") -> None:
    """Check the file that a user named for a plot; None: no file. Call it before any work.

    Raises:
        UsageError: the name's suffix is not that of a format, or the file exists.
    """
    if path is None:
        return
    if path.suffix.lower() not in _METADATA:
        raise UsageError(f"{option} {path}: expected a name that ends in .png, .svg or .pdf")
    files.check_not_exists(path)


def new_figure(width: float, height: float, title: str) -> "Figure":
    """An empty figure; width and height are in inches. Everything is drawn on one of these."""
    figure = _figure_class()(figsize=(width, height), layout="constrained")
    lines = [printable(line) for line in title.split("\n")]
    figure.suptitle("\n".join(lines), fontsize=FONT_SIZE + 1, parse_math=False)  # names may contain $
    return figure


@functools.cache
def _figure_class() -> "type[Figure]":
    """Import matplotlib, 0.3 s, but not pyplot, which looks for a window system.

    A file `matplotlibrc` in the working folder is not read, so it can neither change nor break a plot.
    """
    logging.getLogger("matplotlib").addHandler(logging.NullHandler())  # its notes are not for the user
    exists = os.path.exists
    os.path.exists = lambda path: path != "matplotlibrc" and exists(path)
    try:
        from matplotlib.figure import Figure
    finally:
        os.path.exists = exists
    return Figure


def encode(figure: "Figure", suffix: str = ".png") -> bytes:
    """A figure as the content of a file with this suffix: .png, .svg or .pdf."""
    import matplotlib as mpl

    content = io.BytesIO()
    suffix = suffix.lower()
    with warnings.catch_warnings(), mpl.rc_context({"svg.hashsalt": "mnistctl"}):
        warnings.simplefilter("ignore")  # for class names in other scripts, or very long ones
        figure.savefig(
            content, format=suffix[1:], dpi=_DPI, bbox_inches="tight", metadata=_METADATA[suffix]
        )
    return content.getvalue()


def save(figure: "Figure", path: Path) -> None:
    """Write a figure in the format of the file's suffix, which `check_output` has checked.

    Raises:
        WriteError: the file cannot be written.
    """
    files.write_bytes(path, encode(figure, path.suffix))


def show_ink(axes: "Axes", image: Images) -> None:
    """Draw an image, uint8 (H, W), with dark ink and without a frame."""
    axes.imshow(image, cmap="gray_r", vmin=0, vmax=255)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def tidy(axes: "Axes") -> None:
    """A light grid, and no frame above and to the right."""
    axes.tick_params(labelsize=FONT_SIZE - 1)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def percent(value: float) -> str:
    """A percentage with one decimal; "100%" only for exactly 100, so 99.97 is "99.9%"."""
    return f"{min(value, 99.9):.1f}%" if value < 100 else "100%"


def short(name: str) -> str:
    """A name to draw; a long one without its middle, because similar names often differ at the end."""
    half = _MAX_NAME_LENGTH // 2
    name = printable(name)
    return name if len(name) <= _MAX_NAME_LENGTH else f"{name[: half - 1]}…{name[-half:]}"
