"""Measure how well a model reads the digits of open fonts that no model here is trained with.

    python scripts/measure_fonts.py [MODEL] [--fonts FOLDER]

The families are those of `scripts/fonts.csv` whose use is "measure", in handwriting and in print. Each
digit is black on white, 120 pixels high, and read by `images.read` as in `mnistctl predict`. The fonts
are downloaded with `npm pack` into FOLDER, unless they are there.
"""

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import build_font_sheets
from mnistctl import images
from mnistctl.api import models
from mnistctl.models.predictor import Predictor, predict_all

SIZE = 120  # pixels: size of the font
SIDE = 220  # pixels: side of a picture


def draw(font: ImageFont.FreeTypeFont, digit: str) -> bytes:
    """A picture of a digit, as PNG."""
    picture = Image.new("L", (SIDE, SIDE), 255)
    ImageDraw.Draw(picture).text((SIDE / 2, SIDE / 2), digit, fill=0, font=font, anchor="mm")
    png = io.BytesIO()
    picture.save(png, "PNG")
    return png.getvalue()


def measure(predictor: Predictor, folder: Path) -> Iterator[str]:
    """The rows of a Markdown table."""
    families = [
        family for family in build_font_sheets.read_list() if family.use == build_font_sheets.MEASURE
    ]
    files = build_font_sheets.download_all(families, folder)
    yield "| fonts | families | top answer right | right and not rejected |"
    yield "| --- | --- | --- | --- |"
    for sheet in ("print", "handwriting"):
        fonts = [
            ImageFont.truetype(file, SIZE)
            for family, file in zip(families, files, strict=True)
            if family.sheet == sheet
        ]
        pictures = [draw(font, digit) for font in fonts for digit in "0123456789"]
        read = np.stack([images.read(picture, name="generated") for picture in pictures])
        outputs = predict_all(predictor, read, batch_size=500)
        is_right = outputs.logits.argmax(axis=1) == np.arange(len(pictures)) % 10
        is_accepted = outputs.familiarity >= (predictor.metadata.threshold or 0)
        yield (
            f"| {sheet} | {len(fonts)} | {100 * is_right.mean():.1f}% "
            f"| {100 * (is_right & is_accepted).mean():.1f}% |"
        )


def main() -> None:
    """Measure a model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="bundled")
    parser.add_argument("--fonts", type=Path, default=build_font_sheets.FOLDER)
    arguments = parser.parse_args()
    predictor = models.open_predictor(models.find_model(arguments.model, prefer="onnx"))
    for line in measure(predictor, arguments.fonts):
        print(line)


if __name__ == "__main__":
    main()
