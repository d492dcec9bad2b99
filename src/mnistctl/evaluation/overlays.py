"""Pictures that show what was read in a picture: the picture with boxes, and how it was read."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from mnistctl import images
from mnistctl.errors import BlankPictureError
from mnistctl.evaluation import plots
from mnistctl.images.segment import Box
from mnistctl.models.predictor import Prediction
from mnistctl.types import Floats, Images

_MOST_BARS = 20  # classes
_LARGEST = 2_048  # pixels of an annotated picture's longer side
_LEAST_TEXT = 14  # pixels
_READ, _REJECTED = plots.RIGHT, plots.WRONG


def annotated(source: Path | bytes, digits: Sequence[tuple[Box, Prediction]]) -> bytes:
    """A picture with a box around every digit, its label and probability above it; a PNG.

    Args:
        source: a file that could be read, or its bytes.
        digits: where each is, in the picture's own pixels, and what it was read as.
    """
    picture = _upright(source)
    scale = min(1.0, _LARGEST / max(picture.size))
    if scale < 1:
        picture = picture.resize([round(side * scale) for side in picture.size])
    heights = [box.height * scale for box, _ in digits]
    size = max(_LEAST_TEXT, round(0.17 * (sorted(heights)[len(heights) // 2] if heights else 0)))
    font = ImageFont.load_default(size)
    # Room for what stands above a box at the upper edge.
    room = max([0, *(2 * size - round(box.top * scale) for box, _ in digits)])
    field = Image.new("RGB", (picture.width, picture.height + room), "white")
    field.paste(picture, (0, room))
    pen = ImageDraw.Draw(field)
    for box, prediction in digits:
        left, top = box.left * scale, box.top * scale + room
        right, bottom = left + box.width * scale, top + box.height * scale
        colour = _REJECTED if prediction.rejected else _READ
        width = max(2, size // 8)
        pen.rectangle([left - width, top - width, right + width, bottom + width], None, colour, width)
        text = "?" if prediction.rejected else prediction.label
        with_share = f"{text} {plots.percent(100 * prediction.probability)}"
        if not prediction.rejected and pen.textlength(with_share, font) < right - left + 4 * width:
            text = with_share
        start = max(0.0, min(left - width, field.width - pen.textlength(text, font)))
        place = (start, top - width - size // 6)
        pen.rectangle(pen.textbbox(place, text, font, "lb"), fill="white")
        pen.text(place, text, colour, font, "lb")
    content = io.BytesIO()
    field.save(content, "PNG")
    return content.getvalue()


def explained(
    source: Path | bytes,
    image: Images,
    prediction: Prediction,
    probabilities: Sequence[tuple[str, float]],
    *,
    saliency: Floats | None,
    title: str,
) -> bytes:
    """How a picture was read, step by step: itself, its ink, the image, what mattered, the answer.

    Args:
        source: a file that could be read, or its bytes.
        image: uint8 (28, 28), what the model saw.
        prediction: what it was read as.
        probabilities: (class name, probability), the likeliest first.
        saliency: float32 (28, 28), how much each pixel mattered; None: not shown.
        title: of the picture.
    """
    panels = 4 if saliency is None else 5
    figure = plots.new_figure(2.9 * panels, 3.4, title)
    axes = figure.subplots(1, panels)
    axes[0].imshow(_upright(source))
    axes[0].set_title("picture")
    try:
        _, ink = images.look(source, name=title)
        axes[1].imshow(ink, cmap="gray_r", vmin=0, vmax=1)
    except BlankPictureError:
        axes[1].text(0.5, 0.5, "none", ha="center", va="center", transform=axes[1].transAxes)
    axes[1].set_title("its ink")
    plots.show_ink(axes[2], image)
    axes[2].set_title("what the model sees")
    if saliency is not None:
        plots.show_ink(axes[3], image // 3)
        axes[3].imshow(saliency, cmap="Oranges", alpha=(saliency / max(saliency.max(), 1e-9)) ** 0.7)
        axes[3].set_title("what mattered")
    for panel in axes[:-1]:
        panel.set_xticks([])
        panel.set_yticks([])
        panel.spines[:].set(visible=True, color="lightgrey")
    answer = f"{prediction.label}: {plots.percent(100 * prediction.probability)}"
    if prediction.rejected:
        answer = f"{prediction.reason}\nat best {answer}"
    shown = list(probabilities)[:_MOST_BARS]
    bars = axes[-1]
    colour = _REJECTED if prediction.rejected else _READ
    bars.barh(
        [plots.short(name) for name, _ in shown], [100 * share for _, share in shown], color=colour
    )
    bars.invert_yaxis()
    bars.set_xlim(0, 100)
    bars.set_xlabel("probability (%)")
    bars.spines[["top", "right"]].set_visible(False)
    bars.set_title(answer, color=colour, fontweight="bold", parse_math=False)
    return plots.png(figure)


def _upright(source: Path | bytes) -> Image.Image:
    """A picture in red, green and blue, as a person sees it."""
    content = source if isinstance(source, bytes) else source.read_bytes()
    with Image.open(io.BytesIO(content)) as opened:
        picture = ImageOps.exif_transpose(opened)
        if picture.mode.startswith(("I", "F")):
            picture = picture.point(lambda level: level / 257).convert("L")
        if not picture.has_transparency_data:
            return picture.convert("RGB")
        layers = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers).convert("RGB")
