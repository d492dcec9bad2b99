"""Make a dataset of MNIST's training images in which train and test images are by different writers.

Use it to select a recipe's settings without the test set:

    python scripts/hold_out_writers.py FOLDER
    mnistctl train --dataset FOLDER --recipe best [--thickness 0.6 ...]
    mnistctl eval RUN

MNIST does not name the writer of an image. But the training images seem to be sorted by writer, from
two sources in turn: in slant and stroke width, an image resembles the second one after it, and one 300
places further no more than any other. A random validation split has each writer on both sides; the
test set has other writers. So this script holds out blocks of neighbouring images.
"""

import argparse
import struct
from pathlib import Path

import numpy as np

from mnistctl import datasets
from mnistctl.datasets import Split
from mnistctl.system import files

STARTS, LENGTH = (6_000, 21_000, 36_000, 51_000), 3_000  # images: the blocks that are held out
MARGIN = 300  # images left out on each side of a block, which may be by the same writers


def divide(whole: Split) -> tuple[Split, Split]:
    """The (train, test) splits; test is the blocks that are held out."""
    offsets = np.arange(len(whole.images)) - np.array(STARTS)[:, None]  # from each block's first image
    is_held_out = ((offsets >= 0) & (offsets < LENGTH)).any(axis=0)
    is_near = ((offsets >= -MARGIN) & (offsets < LENGTH + MARGIN)).any(axis=0)
    return (
        whole.take(np.flatnonzero(~is_near), name="train"),
        whole.take(np.flatnonzero(is_held_out), name="test"),
    )


def main(folder: Path) -> None:
    """Write both splits to a new folder, as the four IDX files of a dataset."""
    whole = datasets.load("mnist", "train", validation_size=0)
    folder.mkdir(parents=True)
    for prefix, split in zip(("train", "t10k"), divide(whole), strict=True):
        images = struct.pack(">4I", 0x803, *split.images.shape) + split.images.tobytes()
        labels = struct.pack(">2I", 0x801, len(split.labels)) + split.labels.astype("u1").tobytes()
        files.write_bytes(folder / f"{prefix}-images-idx3-ubyte", images)
        files.write_bytes(folder / f"{prefix}-labels-idx1-ubyte", labels)
        print(f"{split.name}: {len(split.labels):,} images")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="a new folder")
    main(parser.parse_args().folder)
