"""The shapes and types that images and labels have everywhere."""

from typing import TYPE_CHECKING, TypeAlias

IMAGE_SIZE = 28  # pixels, both ways

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Images: TypeAlias = "npt.NDArray[np.uint8]"  # (N, 28, 28), 0 = paper, 255 = ink
Floats: TypeAlias = "npt.NDArray[np.float32]"
Labels: TypeAlias = "npt.NDArray[np.int64]"  # (N,), the index of each image's class
