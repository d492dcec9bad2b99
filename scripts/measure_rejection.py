"""Measure how many out-of-distribution pictures of eight kinds, and MNIST test images, a model rejects.

    python scripts/measure_rejection.py [MODEL] [--each 650]

Pictures are read by `images.read`, as in `mnistctl predict`. Fonts, printed letters and generators
differ from those that `familiarity` is fitted with (`mnistctl.nn.outliers`). Pairs and pieces of digits
are made from MNIST's test images. Requires `pip install --group measure`, and MNIST in the data folder.
"""

import argparse
import importlib.metadata
import io
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from HersheyFonts import HersheyFonts
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from mnistctl import datasets, images
from mnistctl.api import models
from mnistctl.errors import BlankPictureError
from mnistctl.models.predictor import Predictor, predict_all
from mnistctl.types import Images

# Without characters that look like a digit in some font or handwriting (B D G I J L O Q S Y Z b g i j l
# o q s y z § © ®, brackets, strokes, dashes, the question mark), and without those that familiarity is
# fitted with, and similar ones.
STROKES = "FHKNRTVWefhkntvw"
SIGNS = "£¥«»†‡¬"
FONT_PACKAGES = (
    "font-amatic-sc",
    "font-caladea",
    "font-fredoka-one",
    "font-intuitive",
    "font-lato",
    "font-manrope",
    "font-roboto",
    "font-source-sans-pro",
    "font-source-serif-pro",
)
HANDS = ("futural", "futuram", "rowmans", "scripts", "cursive")
# Halves that do not look like a digit, as the upper half of an 8 (0) or the lower of a 9 (1) would.
HALVES = ((0, "upper"), (0, "lower"), (2, "lower"), (3, "left"), (4, "upper"), (7, "left"))
SIDE = 160  # pixels: side of a picture

Picture = Image.Image
Random = np.random.Generator


def _paper() -> Picture:
    return Image.new("L", (SIDE, SIDE), 255)


def letter(random: Random) -> Picture:
    """A letter or sign in a random font, or a letter drawn by strokes, slightly rotated."""
    picture = _paper()
    pen = ImageDraw.Draw(picture)
    if random.random() < 0.5:
        font = ImageFont.truetype(str(random.choice(_font_files())), int(random.integers(70, 110)))
        middle = (SIDE / 2, SIDE / 2)
        pen.text(middle, str(random.choice(list(STROKES + SIGNS))), fill=0, font=font, anchor="mm")
    else:
        hand = HersheyFonts()
        hand.load_default_font(str(random.choice(HANDS)))
        hand.normalize_rendering(80)
        strokes = np.array(list(hand.lines_for_text(str(random.choice(list(STROKES)))))) * (1, -1)
        strokes += SIDE / 2 - (strokes.max(axis=(0, 1)) + strokes.min(axis=(0, 1))) / 2
        strokes += random.normal(0, 1, strokes.shape)
        width = int(random.integers(5, 12))
        for start, end in strokes:
            pen.line([*start, *end], fill=0, width=width)
            for x, y in (start, end):
                pen.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], fill=0)
    return picture.rotate(random.uniform(-10, 10), Image.Resampling.BICUBIC, fillcolor=255)


def _font_files() -> list[str]:
    fonts = [
        str(file.locate())
        for package in FONT_PACKAGES
        for file in importlib.metadata.files(package) or ()
        if file.suffix in (".ttf", ".otf")
    ]
    return sorted(fonts)


def scribble(random: Random) -> Picture:
    """Loops, a spiral, a zigzag or hatching."""
    t = np.linspace(0, 1, 300)
    kind = random.integers(4)
    if kind == 0:  # loops
        a, b = random.uniform(1.5, 6, 2)
        x = np.sin(2 * math.pi * a * t + random.uniform(0, 6)) + random.uniform(0.5, 3) * t
        y = np.sin(2 * math.pi * b * t)
    elif kind == 1:  # a spiral with at least two turns
        turn = 2 * math.pi * random.uniform(2, 5) * t + random.uniform(0, 6)
        x, y = (0.15 + t) * np.cos(turn), (0.15 + t) * np.sin(turn)
    elif kind == 2:  # a zigzag with at least six strokes
        corners = int(random.integers(7, 14))
        x = np.arange(corners) + random.normal(0, 0.2, corners)
        y = 4 * (np.arange(corners) % 2) + random.normal(0, 0.6, corners)
    else:  # hatching
        corners = int(random.integers(12, 30))
        x, y = random.uniform(0, 1, (2, corners))
    points = np.stack([x, y], axis=1)
    points = (points - points.min(axis=0)) / np.ptp(points, axis=0).max()
    picture = _paper()
    scaled = 25 + points * 105
    ImageDraw.Draw(picture).line(
        [tuple(point) for point in scaled], fill=0, width=int(random.integers(3, 10)), joint="curve"
    )
    return picture.rotate(random.uniform(0, 360), fillcolor=255)


def noise(random: Random) -> Picture:
    """Gaussian noise, speckle, salt and pepper, or blurred noise."""
    kind = random.integers(4)
    side = int(random.choice([28, 40, 80, SIDE]))
    field = 128 + 60 * random.standard_normal((side, side))
    if kind == 1:
        field = 255 * random.random((side, side)) ** random.uniform(0.3, 3)
    elif kind == 2:
        dark = random.random((side, side)) < random.uniform(0.05, 0.5)
        field = np.where(dark, random.integers(0, 120), 255).astype(float)
    picture = _picture(field).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    if kind == 3:
        blurred = picture.filter(ImageFilter.GaussianBlur(random.uniform(2, 8)))
        picture = _picture((np.asarray(blurred, float) - 128) * random.uniform(3, 8) + 128)
    return picture


def blank(random: Random) -> Picture:
    """Paper without ink: with grain, a shadow, a fold or a stain."""
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    field = random.uniform(120, 255) + random.normal(0, random.uniform(0, 6), rows.shape)
    kind = random.integers(4)
    if kind == 1:
        field -= random.uniform(20, 90) * (rows * random.random() + columns * random.random())
    elif kind == 2:
        field -= 60 * np.exp(-(((rows - random.random()) / 0.02) ** 2))
    elif kind == 3:
        distance = (rows - random.random()) ** 2 + (columns - random.random()) ** 2
        field -= random.uniform(20, 60) * np.exp(-distance / random.uniform(0.05, 0.3))
    return _picture(field)


def ruled(random: Random) -> Picture:
    """Ruled paper with or without a margin, squared paper, rows of dots, or staves."""
    picture = _picture(np.full((SIDE, SIDE), random.uniform(200, 255)))
    pen = ImageDraw.Draw(picture)
    ink, width = int(random.integers(0, 150)), int(random.integers(1, 5))
    step = int(random.integers(10, 45))
    start = int(random.integers(0, step))
    kind = random.integers(4)
    places = range(start, SIDE, step)
    for place in places:
        if kind == 2:
            for column in places:
                pen.ellipse([column, place, column + 2 * width, place + 2 * width], fill=ink)
        elif kind == 3:
            for line in range(5):
                pen.line([0, place + 5 * line, SIDE, place + 5 * line], fill=ink, width=1)
        else:
            pen.line([0, place, SIDE, place], fill=ink, width=width)
            if kind == 1:
                pen.line([place, 0, place, SIDE], fill=ink, width=width)
    if kind == 0 and random.random() < 0.5:
        pen.line([20, 0, 20, SIDE], fill=ink, width=width)
    return picture.rotate(random.normal(0, 2), Image.Resampling.BICUBIC, fillcolor=255)


def texture(random: Random) -> Picture:
    """Wood, bricks, weave, cells or leaves."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(float)
    kind = random.integers(5)
    scale = random.uniform(12, 40)
    if kind == 0:
        distance = np.hypot(rows - random.uniform(-80, 80), (columns - 80) * random.uniform(0.2, 1))
        field = 128 + 110 * np.sin(distance / scale * 6 + np.sin(rows / 15))
    elif kind == 1:
        shifted = columns + (rows // scale % 2) * scale
        field = np.where((rows % scale < 3) | (shifted % (2 * scale) < 3), 30.0, 180.0)
    elif kind == 2:
        over = (rows // scale + columns // scale) % 2 == 0
        field = np.where(over, 128 + 100 * np.sin(rows), 128 + 100 * np.sin(columns))
    elif kind == 3:
        seeds = random.uniform(0, SIDE, (int(random.integers(8, 30)), 2))
        distance = np.sort(np.hypot(rows[..., None] - seeds[:, 0], columns[..., None] - seeds[:, 1]))
        field = np.clip((distance[..., 1] - distance[..., 0]) * 20, 0, 255)
    else:
        picture = _paper()
        pen = ImageDraw.Draw(picture)
        for _ in range(int(random.integers(15, 60))):
            x, y = random.uniform(0, SIDE, 2)
            length, breadth = random.uniform(8, 40, 2)
            pen.ellipse([x, y, x + length, y + breadth], fill=int(random.integers(0, 200)))
        return picture
    return _picture(field)


def two_digits(digits: datasets.Split, random: Random) -> Picture:
    """Two digits side by side, with or without a gap, or one below the other."""
    whole = [Image.fromarray(digits.images[row]) for row in random.integers(len(digits.images), size=2)]
    first, second = (digit.crop(digit.getbbox()) for digit in whole)
    gap = int(random.integers(-2, 9))
    field = Image.new("L", (90, 90))
    field.paste(first, (20, 20))
    place = (20 + first.width + gap, 20) if random.random() < 0.75 else (20, 20 + first.height + gap)
    mask = Image.new("L", (90, 90))
    mask.paste(second, place)
    both = np.maximum(np.asarray(field), np.asarray(mask))
    return _picture(255 - both.astype(float)).resize((2 * SIDE, 2 * SIDE), Image.Resampling.BICUBIC)


def piece(digits: datasets.Split, random: Random) -> Picture:
    """Half of a digit that does not look like a digit itself; see `HALVES`."""
    label, side = HALVES[random.integers(len(HALVES))]
    row = random.choice(np.flatnonzero(digits.labels == label))
    whole = Image.fromarray(digits.images[row])
    left, top, right, bottom = whole.getbbox() or (0, 0, 28, 28)
    middle = ((left + right) // 2, (top + bottom) // 2)
    box = {
        "upper": (left, top, right, middle[1]),
        "lower": (left, middle[1], right, bottom),
        "left": (left, top, middle[0], bottom),
    }[side]
    field = Image.new("L", (40, 40))
    field.paste(whole.crop(box), (8, 8))
    picture = _picture(255 - np.asarray(field, dtype=float))
    return picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def _picture(field: npt.NDArray[np.floating]) -> Picture:
    return Image.fromarray(np.clip(field, 0, 255).astype(np.uint8))


def kinds(digits: datasets.Split) -> dict[str, Callable[[Random], Picture]]:
    """The functions that draw a picture of each kind, by the name of the kind."""
    return {
        "letters and signs": letter,
        "scribbles": scribble,
        "noise": noise,
        "blank paper": blank,
        "ruled lines": ruled,
        "textures": texture,
        "two digits at once": lambda random: two_digits(digits, random),
        "pieces of digits": lambda random: piece(digits, random),
    }


def read(picture: Picture) -> Images | None:
    """The image that `predict` makes of a picture; None: the picture is blank."""
    png = io.BytesIO()
    picture.save(png, format="PNG", compress_level=1)
    try:
        return images.read(png.getvalue(), name="generated")
    except BlankPictureError:
        return None


def measure(predictor: Predictor, digits: datasets.Split, *, each: int) -> dict[str, Any]:
    """The shares in [0, 1] that a model rejects: of each kind, their mean, and of MNIST test images."""
    threshold = predictor.metadata.threshold
    assert threshold is not None
    rejected: dict[str, float] = {}
    for name, draw in kinds(digits).items():
        random = np.random.default_rng(1)
        converted = [read(draw(random)) for _ in range(each)]
        inked = [image for image in converted if image is not None]
        familiarity = (
            predict_all(predictor, np.stack(inked), batch_size=256).familiarity
            if inked
            else np.zeros(0)
        )
        blank_count = each - len(inked)
        rejected[name] = float(((familiarity < threshold).sum() + blank_count) / each)
    familiarity = predict_all(predictor, digits.images, batch_size=256).familiarity
    return {
        "pictures": each * len(rejected),
        "rejected": float(np.mean(list(rejected.values()))),
        "rejected_by_kind": rejected,
        "digits": len(digits.images),
        "digits_rejected": float((familiarity < threshold).mean()),
    }


def render(result: dict[str, Any]) -> Iterator[str]:
    """The lines of a Markdown table."""
    yield "| pictures of | pictures | rejected |"
    yield "| --- | --- | --- |"
    each = result["pictures"] // len(result["rejected_by_kind"])
    for name, share in result["rejected_by_kind"].items():
        yield f"| {name} | {each:,} | {100 * share:.1f}% |"
    yield f"| **all of these** | {result['pictures']:,} | {100 * result['rejected']:.1f}% |"
    yield f"| **MNIST test images** | {result['digits']:,} | {100 * result['digits_rejected']:.2f}% |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one model and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", help="a model, as for `mnistctl eval`")
    parser.add_argument("--each", type=int, default=650, help="pictures per kind")
    options = parser.parse_args(arguments)
    predictor = models.open_predictor(models.find_model(options.model))
    digits = datasets.load("mnist", "test")
    print("\n".join(render(measure(predictor, digits, each=options.each))))


if __name__ == "__main__":
    main()
