"""The embedded digits: 1,797 real handwritten digits that need no download.

Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository
1998, CC BY 4.0, as scikit-learn ships them: 8×8 pixels, values 0 to 16. `scripts/build_digits.py`
makes the file. The first 1,500 are the training images, the last 297 the test images; the order is
the source's, where a writer's digits follow one another, so most test writers are unseen.
"""

import io

import numpy as np
import numpy.typing as npt

from mnistctl.images import center

TRAIN_IMAGES = 1_500
_GREY_LEVELS = 16


def unpack(content: bytes, split: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images, uint8 (N, 28, 28), and labels, int64 (N,), of "train" or "test".

    Args:
        content: the bytes of `digits.npz`: images uint8 (1797, 8, 8), labels uint8 (1797,).
        split: "train" or "test".
    """
    rows = slice(0, TRAIN_IMAGES) if split == "train" else slice(TRAIN_IMAGES, None)
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        small = arrays["images"][rows].astype(np.float32) / _GREY_LEVELS
        labels = arrays["labels"][rows].astype(np.int64)
    # The way every picture takes that is read later, so that training sees what predicting will.
    return np.stack([center.fit(ink) for ink in small]), labels
