"""Draw predictions on pictures: boxes around digits, and plots of how a picture was read."""

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mnistctl.evaluation import figures
from mnistctl.images.decode import Grey, Picture
from mnistctl.images.digit import Box
from mnistctl.models.predictor import Prediction
from mnistctl.types import Floats, Images

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_BARS = 20  # most likely classes in the plot of the probabilities
_MAX_ROWS = 20  # digits of a picture that are explained
_PANEL_SIDE = 2.9  # inches
_CROP_MARGIN = 0.3  # around an explained digit, as a share of its size
_MIN_FONT_SIZE = 14  # pixels
_FONT_SCALE = 0.17  # font size / median height of the digits
_MAX_TITLE_LENGTH = 100  # characters
_ACCEPTED, _REJECTED = figures.RIGHT, figures.WRONG


class DrawnDigit(NamedTuple):
    """A digit of a picture, and its prediction."""

    box: Box  # in pixels of the picture's file
    image: Images  # uint8 (28, 28), the model's input
    prediction: Prediction
    probabilities: Floats  # of all classes


def draw_boxes(
    picture: Picture, ink: Grey | None, digits: Sequence[DrawnDigit], *, title: str, suffix: str
) -> bytes:
    """Draw a box around each digit, with its label and probability above it.

    Args:
        picture: the decoded picture.
        ink: is not drawn.
        digits: of the picture.
        title: of an SVG or PDF file.
        suffix: of the file: .png, .svg or .pdf.
    """
    digits = [digit for digit in digits if digit.box.width]  # a blank picture has no box
    boxes = [Box(*(round(side / picture.scale) for side in digit.box)) for digit in digits]
    median_height = sorted(box.height for box in boxes)[len(boxes) // 2] if boxes else 0
    size = max(_MIN_FONT_SIZE, round(_FONT_SCALE * median_height))
    font = ImageFont.load_default(size)
    width = max(2, size // 8)  # of a box's line
    drawn = _as_rgb(picture)
    space = max([0, *(2 * size - box.top for box in boxes)])  # for labels above the upper edge
    canvas = Image.new("RGB", (drawn.width, drawn.height + space), "white")
    canvas.paste(drawn, (0, space))
    pen = ImageDraw.Draw(canvas)
    for box, digit in zip(boxes, digits, strict=True):
        prediction = digit.prediction
        left, top = box.left - width, box.top + space - width
        right, bottom = box.left + box.width + width, box.bottom + space + width
        colour = _REJECTED if prediction.rejected else _ACCEPTED
        pen.rectangle([left, top, right, bottom], None, colour, width)
        text = "?" if prediction.rejected else prediction.label
        with_probability = f"{text} {figures.percent(100 * prediction.probability)}"
        if (
            not prediction.rejected
            and pen.textlength(with_probability, font) < right - left + 2 * width
        ):
            text = with_probability
        start = max(0.0, min(left, canvas.width - pen.textlength(text, font)))
        place = (start, top - size // 6)
        pen.rectangle(pen.textbbox(place, text, font, "lb"), fill="white")
        pen.text(place, text, colour, font, "lb")
    if suffix.lower() != ".png":
        figure = figures.new_figure(canvas.width / 100, canvas.height / 100, _shortened(title))
        axes = figure.subplots()
        axes.imshow(canvas)
        axes.set_axis_off()
        return figures.encode(figure, suffix)
    content = io.BytesIO()
    canvas.save(content, "PNG")
    return content.getvalue()


def draw_explanation(
    picture: Picture,
    ink: Grey | None,
    digits: Sequence[DrawnDigit],
    *,
    class_names: Sequence[str],
    threshold: float | None,
    saliency: Callable[[Images], Floats] | None,
    saliency_note: str,
    title: str,
    suffix: str,
) -> bytes:
    """Plot how digits were read: the picture, its ink, the image, its saliency, the prediction.

    Args:
        picture: the decoded picture.
        ink: its ink, float32 (H, W) in [0, 1]; None: the picture is blank.
        digits: a row is plotted for each of the first 20.
        class_names: of the model.
        threshold: digits with a lower familiarity are rejected; None: none is.
        saliency: returns how much each pixel of images mattered, float32 (N, 28, 28) in [0, 1]; None:
            not shown.
        saliency_note: below the saliency.
        title: of the plot.
        suffix: of the file: .png, .svg or .pdf.
    """
    rows = digits[:_MAX_ROWS]
    title = _shortened(title)
    if len(rows) < len(digits):
        title += f": the first {len(rows)} of {len(digits)} digits"
    panels = 4 if saliency is None else 5
    figure = figures.new_figure(_PANEL_SIDE * panels, (_PANEL_SIDE + 0.8) * max(1, len(rows)), title)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.15)
    grid = figure.subplots(max(1, len(rows)), panels, squeeze=False)
    maps = saliency(np.stack([digit.image for digit in rows])) if saliency and rows else None
    for number, digit in enumerate(rows):
        axes = grid[number]
        part = _part_around(digit.box, picture) if len(digits) > 1 else np.s_[:, :]
        _show_picture(axes, _as_rgb(picture), ink, part)
        figures.show_ink(axes[2], digit.image)
        axes[2].set_title("model input")
        if maps is not None:
            _show_saliency(axes[3], digit.image, maps[number], saliency_note)
        _plot_probabilities(axes[-1], digit, class_names, threshold)
    if not rows:
        _show_picture(grid[0], _as_rgb(picture), ink, np.s_[:, :])
        for panel in grid[0, 2:]:
            panel.set_axis_off()
        grid[0, 2].set_title("no digits")
    for panel in grid[:, :-1].flat:
        panel.set_xticks([])
        panel.set_yticks([])
        panel.spines[:].set(visible=True, color="lightgrey")
    return figures.encode(figure, suffix)


def _shortened(title: str) -> str:
    return title if len(title) <= _MAX_TITLE_LENGTH else f"…{title[-_MAX_TITLE_LENGTH:]}"


def _part_around(box: Box, picture: Picture) -> tuple[slice, slice]:
    """The rows and columns of a decoded picture around a digit."""
    left, top, width, height = (side / picture.scale for side in box)
    margin = _CROP_MARGIN * max(width, height)
    rows = slice(max(0, round(top - margin)), round(top + height + margin) + 1)
    return rows, slice(max(0, round(left - margin)), round(left + width + margin) + 1)


def _show_picture(
    axes: "Sequence[Axes]", drawn: Image.Image, ink: Grey | None, part: tuple[slice, slice]
) -> None:
    axes[0].imshow(np.asarray(drawn)[part])
    axes[0].set_title("picture")
    axes[1].set_title("ink")
    if ink is None:
        axes[1].text(0.5, 0.5, "none", ha="center", va="center", transform=axes[1].transAxes)
    else:
        axes[1].imshow(ink[part], cmap="gray_r", vmin=0, vmax=1)


def _show_saliency(axes: "Axes", image: Images, saliency: Floats, note: str) -> None:
    figures.show_ink(axes, image // 3)
    axes.imshow(saliency, cmap="Oranges", alpha=(saliency / max(saliency.max(), 1e-9)) ** 0.7)
    axes.set_title("saliency")
    axes.set_xlabel(note)


def _plot_probabilities(
    axes: "Axes", digit: DrawnDigit, class_names: Sequence[str], threshold: float | None
) -> None:
    prediction = digit.prediction
    ranking = np.argsort(-digit.probabilities, kind="stable")[:_MAX_BARS]
    colour = _REJECTED if prediction.rejected else _ACCEPTED
    names = [figures.short(class_names[index]) for index in ranking]
    axes.barh(names, 100 * digit.probabilities[ranking], color=colour)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    limit = "" if threshold is None else f", threshold {threshold:.2f}"
    axes.set_xlabel(f"probability (%)\nfamiliarity {prediction.familiarity:.2f}{limit}")
    axes.spines[["top", "right"]].set_visible(False)
    answer = f"{figures.short(prediction.label)}: {figures.percent(100 * prediction.probability)}"
    if prediction.rejected:
        answer = f"{prediction.reason}\nbest guess {answer}"
    axes.set_title(answer, color=colour, fontweight="bold", parse_math=False)


def _as_rgb(picture: Picture) -> Image.Image:
    levels = np.rint(255 * picture.colours).astype(np.uint8)
    return Image.fromarray(np.broadcast_to(levels, (*levels.shape[:2], 3)).copy())
