"""Plots of pages with their digits, or with those that a model for numbers found."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mnistctl.evaluation.detection import ReadPage
from mnistctl.evaluation.figures import FONT_SIZE, RIGHT, WRONG, new_figure, short, show_ink
from mnistctl.pages.compose import Page
from mnistctl.types import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3
_CUT_OFF = "#999999"  # colour of digits that do not count


def sheet(pages: Sequence[ReadPage], class_names: Sequence[str], *, title: str) -> "Figure":
    """Pages with boxes around their digits.

    A digit that was found has a thin box with its label. A wrong label has a thick box, with the true
    label after it; a missed digit has a dashed box, and a false alarm a thick one without a true label.
    Digits that are cut off, which do not count, have a dotted box.

    Args:
        pages: one or more, of equal size.
        class_names: C names.
        title: of the plot.
    """
    title += (
        "\nthin box: right · thick box: wrong label ✗ true label, or false alarm · dashed box: missed"
    )
    figure, grid = _grid([page for page, _, _ in pages], title)
    for axes, page in zip(grid, pages, strict=True):
        _draw(axes, page, [short(name) for name in class_names])
    return figure


def composed(pages: Sequence[Page], class_names: Sequence[str], *, title: str) -> "Figure":
    """Pages with a box and a label for every digit, and a dotted box for those that are cut off.

    Args:
        pages: one or more, of equal size.
        class_names: C names.
        title: of the plot.
    """
    figure, grid = _grid(pages, title)
    for axes, page in zip(grid, pages, strict=True):
        for box, label in zip(page.boxes, page.labels, strict=True):
            if label >= 0:
                _draw_box(axes, box, short(class_names[label]), RIGHT)
    return figure


def _grid(pages: Sequence[Page], title: str) -> tuple["Figure", "Sequence[Axes]"]:
    """A figure with the pages and dotted boxes around what does not count."""
    columns = min(_COLUMNS, len(pages))
    rows = -(-len(pages) // columns)
    figure = new_figure(4.6 * columns, 0.9 + 1.9 * rows, title)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(pages) :]:
        axes.set_axis_off()
    for axes, page in zip(grid, pages, strict=False):
        show_ink(axes, page.image)
        axes.spines[:].set(visible=True, color="#cccccc", linewidth=0.8)
        for box in page.boxes[page.labels < 0]:
            _draw_box(axes, box, "", _CUT_OFF, style=":")
    return figure, [*grid[: len(pages)]]


def _draw(axes: "Axes", read_page: ReadPage, names: Sequence[str]) -> None:
    page, found, errors = read_page
    for digit, answer in errors.pairs:
        true, label = page.labels[digit], found.labels[answer]
        is_right = true == label
        text = names[label] if is_right else f"{names[label]} ✗ {names[true]}"
        _draw_box(axes, found.boxes[answer], text, RIGHT if is_right else WRONG, bold=not is_right)
    for digit in errors.missed:
        _draw_box(axes, page.boxes[digit], names[page.labels[digit]], WRONG, style="--", bold=True)
    for answer in errors.false_alarms:
        _draw_box(axes, found.boxes[answer], f"{names[found.labels[answer]]} ✗", WRONG, bold=True)


def _draw_box(
    axes: "Axes", box: Floats, text: str, colour: str, *, style: str = "-", bold: bool = False
) -> None:
    from matplotlib.patches import Rectangle

    left, top, right, bottom = (float(side) - 0.5 for side in box)
    axes.add_patch(
        Rectangle(
            (left, top),
            right - left,
            bottom - top,
            fill=False,
            edgecolor=colour,
            linestyle=style,
            linewidth=2 if bold else 1,
        )
    )
    if not text:
        return
    axes.text(
        left,
        top - 0.5,
        text,
        color=colour,
        fontsize=FONT_SIZE - 3,
        fontweight="bold" if bold else "normal",
        va="bottom",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.4},
        parse_math=False,
        clip_on=False,
    )
