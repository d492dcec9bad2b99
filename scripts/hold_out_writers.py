"""Make a dataset of MNIST's training images whose test images are by writers that train has not seen.

Nothing says who wrote which image, but the training images seem to lie in the order of their writers,
two sources taking turns: in slant and stroke an image resembles the one two places further on, and one
300 places further on no more than any. An ordinary validation split, drawn at random, has every writer
on both sides, the test set has others. So blocks of neighbours are held out here, to choose a
recipe's settings by, without a look at the test set:

    python scripts/hold_out_writers.py FOLDER
    mnistctl train --dataset FOLDER --recipe best [--thickness 0.6 ...]
    mnistctl eval RUN
"""

import argparse
import struct
from pathlib import Path

import numpy as np

from mnistctl import datasets
from mnistctl.datasets import Split
from mnistctl.system import files

STARTS, LENGTH = (6_000, 21_000, 36_000, 51_000), 3_000  # of the blocks held out
MARGIN = 300  # images left out on both sides of a block: its first and last writers' others


def divide(whole: Split) -> tuple[Split, Split]:
    """(What is left to train on, what is held out)."""
    offsets = np.arange(len(whole.images)) - np.array(STARTS)[:, None]  # from each block's first image
    held_out = ((offsets >= 0) & (offsets < LENGTH)).any(axis=0)
    near = ((offsets >= -MARGIN) & (offsets < LENGTH + MARGIN)).any(axis=0)
    return (
        whole.take(np.flatnonzero(~near), name="train"),
        whole.take(np.flatnonzero(held_out), name="test"),
    )


def main(folder: Path) -> None:
    """Write both into the folder, as the four IDX files of a dataset."""
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
