"""Telling ink from what else is on the paper: noise, dirt and the soft rims of strokes."""

import cv2
import numpy as np
import numpy.typing as npt

from mnistctl.errors import BlankPictureError
from mnistctl.images import paper
from mnistctl.images.decode import Colours, Grey
from mnistctl.images.paper import Mask

Sides = npt.NDArray[np.int32]

BLANK_CONTRAST = 0.08  # of black to white; fainter differences are paper, not writing

_LARGE = 100  # pixels: a picture with a longer side has noise to smooth
_NOISE = 5  # standard deviations of the paper's noise: what is stronger is written
_LOUDEST = 0.3  # of black to white: what is rougher is no paper's noise
_CORE = 0.25  # of the ink's usual strength: what is stronger, and touches, is one piece
_STRONG = 0.5  # of the ink's usual strength: every piece reaches it somewhere
_MOST = 200  # pieces that are looked at: with more it is no writing
_SPECK = 0.12  # of the largest piece's size: a smaller one is dirt
_APART = 0.4  # of the largest piece's size: a smaller one is dirt too, unless it lies near
_NEAR = 0.2  # of the largest piece's size
_RIM = 0.06  # of the largest piece's size: how far a stroke's soft rim reaches
_FAINT = 0.02  # of the ink's usual strength: what is fainter in a rim is paper


def find(colours: Colours, *, name: str) -> Grey:
    """The ink of a picture, float32 (H, W): 0 = paper, 1 = the ink's usual strength and above.

    Args:
        colours: float32 (H, W, C) in [0, 1], C of 1 or 3.
        name: what to call it in an error.

    Raises:
        BlankPictureError: blank: nothing stands out from the paper.
    """
    strength = paper.remove(colours)
    smooth = cv2.GaussianBlur(strength, (0, 0), 1) if max(strength.shape) > _LARGE else strength
    noise = min(_NOISE * paper.spread(smooth), _LOUDEST)
    written = smooth[smooth > max(BLANK_CONTRAST, noise)]
    if not written.size:
        raise BlankPictureError(f"{name}: blank: nothing on it stands out from the paper")
    level = paper.quantile(written, 0.95)

    core = smooth > max(_CORE * level, min(noise, _STRONG * level))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(core.astype(np.uint8))
    starts, sides = stats[:, :2], stats[:, 2:4]  # x and y, width and height; the first is the paper
    strong = np.zeros(count, dtype=bool)
    strong[labels[smooth > _STRONG * level]] = True
    strong[0] = False
    if not strong.any():
        raise BlankPictureError(f"{name}: blank: nothing on it stands out from the paper")
    kept, largest = _writing(strong, starts, sides)

    width = 2 * max(2, round(_RIM * largest)) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    around = cv2.dilate(kept[labels].astype(np.uint8), disk) > 0
    rest = np.abs(smooth[~(around | core)])
    rough = paper.quantile(rest, 0.98) if rest.size else 0.0
    rim = min(max(_FAINT * level, 1.5 * rough), _CORE * level)
    ink: Grey = np.where(around & (smooth > rim), np.clip(strength / level, 0, 1), 0)
    return ink.astype(np.float32, copy=False)


def _writing(strong: Mask, starts: Sides, sides: Sides) -> tuple[Mask, int]:
    """Which of N pieces are writing, and the size of the largest.

    Args:
        strong: (N,), which of them may be.
        starts: (N, 2), the left and upper ends of the boxes around them.
        sides: (N, 2), the widths and heights of those.
    """
    sizes = np.where(strong, sides.max(axis=1), 0)
    largest = int(sizes.max())
    if np.count_nonzero(strong) == 1:
        return strong, largest
    is_large = sizes > _APART * largest
    is_large &= sizes >= np.sort(sizes)[-_MOST:][0]
    between = starts[:, None] - (starts + sides)[None, is_large]  # (pieces, large ones, x and y)
    gaps = np.maximum(between, starts[None, is_large] - (starts + sides)[:, None]).max(axis=2)
    kept: Mask = is_large | ((sizes > _SPECK * largest) & (gaps.min(axis=1) < _NEAR * largest))
    return kept, largest
