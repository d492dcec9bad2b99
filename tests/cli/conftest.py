"""Fixtures of the tests of commands."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnistctl import datasets

LABELS = (3, 7, 0)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with a picture of a 3, and a sub-folder with a 7 and a 0; names begin with the label."""
    split = datasets.load("digits", "test")
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for label, target in zip(LABELS, (folder, folder / "more", folder / "more"), strict=True):
        digit = split.images[np.flatnonzero(split.labels == label)[0]]
        picture = Image.fromarray(255 - digit).resize((140, 140), Image.Resampling.BICUBIC)
        picture.save(target / f"{label}_digit.png")
    return folder


@pytest.fixture
def number(pictures: Path) -> Path:
    """A picture of the number 370."""
    paths = [next(pictures.rglob(f"{label}_digit.png")) for label in LABELS]
    paper = Image.new("L", (3 * 160, 160), 255)
    for index, path in enumerate(paths):
        paper.paste(Image.open(path), (160 * index + 10, 10))
    paper.save(pictures.parent / "number.png")
    return pictures.parent / "number.png"
