"""The bundled digits: 1,797 real handwritten digits that need no download.

Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository
1998, CC BY 4.0, as distributed with scikit-learn: 8×8 pixels, values 0 to 16. `scripts/build_digits.py`
writes the file. The first 1,500 images are for training and the last 297 for testing, in the order of
the source. There the digits of a writer follow one another, so training has no digit of most of the
test writers.
"""

import io

import numpy as np

from mnistctl.images import center
from mnistctl.types import Images, Labels

TRAIN_IMAGES = 1_500
_GREY_LEVELS = 16


def unpack(content: bytes, split: str) -> tuple[Images, Labels]:
    """The images and labels of "train" or "test".

    Args:
        content: the bytes of `digits.npz`: images uint8 (1797, 8, 8), labels uint8 (1797,).
        split: "train" or "test".
    """
    rows = slice(0, TRAIN_IMAGES) if split == "train" else slice(TRAIN_IMAGES, None)
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        small = arrays["images"][rows].astype(np.float32) / _GREY_LEVELS
        labels = arrays["labels"][rows].astype(np.int64)
    # Pictures are prepared by the same function, so training sees what prediction will see.
    return np.stack([center.fit(ink) for ink in small]), labels
