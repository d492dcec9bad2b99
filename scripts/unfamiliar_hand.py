"""Write pictures in a handwriting that no model was trained on: distorted MNIST test digits.

    python scripts/unfamiliar_hand.py FOLDER [--seed N]

The seed determines how all digits are slanted, rotated and bent. The strength varies slightly from
digit to digit, as in real handwriting. FOLDER/train gets 50 pictures, FOLDER/test 500 others.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from mnistctl import datasets

TRAIN, TEST = 50, 500  # pictures


def distort(digit: npt.NDArray[np.uint8], random: np.random.Generator, seed: int) -> Image.Image:
    """Distort a digit, uint8 (28, 28); returns a picture of 112×112 pixels, dark on light."""
    style = np.random.default_rng(seed)
    slant, turn = style.choice([-1, 1], size=2) * style.uniform([0.6, 25], [0.9, 35])
    bend, wave = style.uniform([2.0, 8.0], [3.0, 11.0])  # pixels of 28: amplitude and period
    slant, turn, bend = np.array([slant, turn, bend]) * random.uniform(0.85, 1.15, size=3)
    angle = np.radians(turn)
    rows, columns = np.mgrid[0:28:112j, 0:28:112j] - 14
    x = columns + slant * rows + bend * np.sin(2 * np.pi * rows / wave)
    x, y = np.cos(angle) * x - np.sin(angle) * rows, np.sin(angle) * x + np.cos(angle) * rows
    inside = (np.abs(x) < 14) & (np.abs(y) < 14)
    left, top = (np.clip(axis + 14, 0, 27).astype(int) for axis in (x, y))
    ink = np.where(inside, digit[top, left], 0).astype(np.uint8)
    return Image.fromarray(255 - ink)


def write(folder: Path, *, seed: int) -> None:
    """Write both folders of pictures. The seed also selects the test digits."""
    split = datasets.load("mnist", "test")
    random = np.random.default_rng(seed)
    rows = random.permutation(len(split.images))[: TRAIN + TEST]
    for number, row in enumerate(rows):
        class_folder = folder / ("train" if number < TRAIN else "test") / str(split.labels[row])
        class_folder.mkdir(parents=True, exist_ok=True)
        distort(split.images[row], random, seed).save(class_folder / f"{number}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write(options.folder, seed=options.seed)
