"""Write the example pictures of `predict --annotate` and `--explain` for the documentation.

    python scripts/example_pictures.py

The page is made of MNIST test images, in blue ink on ruled paper under a lamp. Requires MNIST in the
data folder.
"""

import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import bench
from mnistctl import datasets
from mnistctl.datasets import Split
from mnistctl.system import files

DOCS = Path(__file__).parents[1] / "docs"
LINES = ("1984", "2026")
SIDE = 130  # pixels: side of a digit with its margin


def main() -> None:
    """Draw a page, run both commands on it, and write reduced copies to the docs."""
    page = draw_page(datasets.load("mnist", "test"), LINES)
    working_folder = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        page.save("page.jpg", quality=80)
        page.crop((40 + SIDE, 20, 40 + 2 * SIDE, 20 + SIDE)).save("one.jpg", quality=80)
        predict = (*bench.MNISTCTL, "predict")
        print(bench.measure([*predict, "page.jpg", "--numbers", "--annotate", "annotated.png"]).stdout)
        model = Path(datasets.__file__).parents[1] / "bundled" / "model.safetensors"
        options = ("--model", str(model), "--explain", "explained.png")
        print(bench.measure([*predict, "one.jpg", *options]).stdout)
        for name, width in (("annotated.png", 560), ("explained.png", 900)):
            with Image.open(name) as picture:
                height = round(width * picture.height / picture.width)
                reduced = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
            reduced.quantize(128).save(name, optimize=True)
            files.write_bytes(DOCS / name, Path(name).read_bytes())
        os.chdir(working_folder)


def draw_page(split: Split, lines: tuple[str, ...]) -> Image.Image:
    """Draw lines of digits in blue on ruled paper, with light from the right."""
    height, width = SIDE * len(lines) + 40, SIDE * max(map(len, lines)) + 80
    ink = np.zeros((height, width), dtype=np.float32)
    random = np.random.default_rng(4)
    for row, line in enumerate(lines):
        for column, label in enumerate(line):
            image = split.images[random.choice(np.flatnonzero(split.labels == int(label)))]
            enlarged = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
            digit = np.clip((enlarged.astype(np.float32) / 255 - 0.4) * 5, 0, 1)
            top, left = 20 + SIDE * row, 40 + SIDE * column
            ink[top : top + SIDE, left : left + SIDE] = digit
    paper = np.full((height, width, 3), (0.96, 0.94, 0.88), dtype=np.float32)
    paper[SIDE // 2 :: SIDE // 2] = (0.65, 0.75, 0.9)
    page = paper + ink[..., None] * (np.array([0.1, 0.2, 0.55], np.float32) - paper)
    light = np.linspace(0.6, 1, width, dtype=np.float32)[:, None]
    return Image.fromarray(np.rint(255 * page * light).astype(np.uint8))


if __name__ == "__main__":
    main()
