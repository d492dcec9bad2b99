"""Draw predictions on pictures: boxes around digits, and plots of how a picture was read."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mnistctl.evaluation import plots
from mnistctl.images.decode import Grey, Picture
from mnistctl.images.segment import Box
from mnistctl.models.predictor import Prediction
from mnistctl.types import Floats, Images

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_BARS = 20  # most likely classes in the plot of the probabilities
_MIN_FONT_SIZE = 14  # pixels
_FONT_SCALE = 0.17  # font size / median height of the digits
_ACCEPTED, _REJECTED = plots.RIGHT, plots.WRONG


def draw_boxes(picture: Picture, digits: Sequence[tuple[Box, Prediction]]) -> bytes:
    """Draw a box around each digit, with its label and probability above it; a PNG.

    Args:
        picture: the decoded picture.
        digits: the boxes, in pixels of the picture's file, and the predictions.
    """
    boxes = [Box(*(round(side / picture.scale) for side in box)) for box, _ in digits]
    median_height = sorted(box.height for box in boxes)[len(boxes) // 2] if boxes else 0
    size = max(_MIN_FONT_SIZE, round(_FONT_SCALE * median_height))
    font = ImageFont.load_default(size)
    width = max(2, size // 8)  # of a box's line
    drawn = _as_rgb(picture)
    space = max([0, *(2 * size - box.top for box in boxes)])  # for labels above the upper edge
    canvas = Image.new("RGB", (drawn.width, drawn.height + space), "white")
    canvas.paste(drawn, (0, space))
    pen = ImageDraw.Draw(canvas)
    for box, (_, prediction) in zip(boxes, digits, strict=True):
        left, top = box.left - width, box.top + space - width
        right, bottom = box.left + box.width + width, box.bottom + space + width
        colour = _REJECTED if prediction.rejected else _ACCEPTED
        pen.rectangle([left, top, right, bottom], None, colour, width)
        text = "?" if prediction.rejected else prediction.label
        with_probability = f"{text} {plots.percent(100 * prediction.probability)}"
        if (
            not prediction.rejected
            and pen.textlength(with_probability, font) < right - left + 2 * width
        ):
            text = with_probability
        start = max(0.0, min(left, canvas.width - pen.textlength(text, font)))
        place = (start, top - size // 6)
        pen.rectangle(pen.textbbox(place, text, font, "lb"), fill="white")
        pen.text(place, text, colour, font, "lb")
    content = io.BytesIO()
    canvas.save(content, "PNG")
    return content.getvalue()


def draw_explanation(
    picture: Picture,
    ink: Grey | None,
    image: Images,
    prediction: Prediction,
    probabilities: Mapping[str, float],
    *,
    saliency: Floats | None,
    title: str,
) -> bytes:
    """Plot how a picture was read: the picture, its ink, the image, its saliency, the prediction.

    Args:
        picture: the decoded picture.
        ink: its ink, float32 (H, W) in [0, 1]; None: the picture is blank.
        image: uint8 (28, 28), the model's input.
        prediction: of this image.
        probabilities: of all classes, by class name.
        saliency: float32 (28, 28), how much each pixel mattered; None: not shown.
        title: of the plot.
    """
    panels = 4 if saliency is None else 5
    figure = plots.new_figure(2.9 * panels, 3.4, title)
    axes = figure.subplots(1, panels)
    axes[0].imshow(_as_rgb(picture))
    axes[0].set_title("picture")
    if ink is None:
        axes[1].text(0.5, 0.5, "none", ha="center", va="center", transform=axes[1].transAxes)
    else:
        axes[1].imshow(ink, cmap="gray_r", vmin=0, vmax=1)
    axes[1].set_title("ink")
    plots.show_ink(axes[2], image)
    axes[2].set_title("model input")
    if saliency is not None:
        plots.show_ink(axes[3], image // 3)
        axes[3].imshow(saliency, cmap="Oranges", alpha=(saliency / max(saliency.max(), 1e-9)) ** 0.7)
        axes[3].set_title("saliency")
    for panel in axes[:-1]:
        panel.set_xticks([])
        panel.set_yticks([])
        panel.spines[:].set(visible=True, color="lightgrey")
    _plot_probabilities(axes[-1], prediction, probabilities)
    return plots.png(figure)


def _plot_probabilities(
    axes: "Axes", prediction: Prediction, probabilities: Mapping[str, float]
) -> None:
    names = sorted(probabilities, key=lambda name: -probabilities[name])[:_MAX_BARS]
    colour = _REJECTED if prediction.rejected else _ACCEPTED
    axes.barh(
        [plots.short(name) for name in names],
        [100 * probabilities[name] for name in names],
        color=colour,
    )
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("probability (%)")
    axes.spines[["top", "right"]].set_visible(False)
    answer = f"{prediction.label}: {plots.percent(100 * prediction.probability)}"
    if prediction.rejected:
        answer = f"{prediction.reason}\nbest guess {answer}"
    axes.set_title(answer, color=colour, fontweight="bold", parse_math=False)


def _as_rgb(picture: Picture) -> Image.Image:
    levels = np.rint(255 * picture.colours).astype(np.uint8)
    return Image.fromarray(np.broadcast_to(levels, (*levels.shape[:2], 3)).copy())
