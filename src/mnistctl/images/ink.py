"""Separate ink from noise, dirt and the soft edges of strokes."""

import math

import cv2
import numpy as np
import numpy.typing as npt

from mnistctl.errors import BlankPictureError
from mnistctl.images import paper
from mnistctl.images.decode import Colours, Grey
from mnistctl.images.paper import Mask

Sides = npt.NDArray[np.int32]

BLANK_CONTRAST = 0.08  # smaller differences from the paper are not ink; 1 = black to white

_MAX_ROUGH_SIDE = 100  # pixels: a picture with a longer side is smoothed first
_NOISE_FACTOR = 5  # ink is stronger than this many standard deviations of the paper's noise
_MAX_NOISE_LIMIT = 0.3  # upper limit of that product; 1 = black to white

# Shares of the ink's usual strength.
_CORE = 0.25  # pixels above this that touch form a piece
_STRONG = 0.5  # at least one pixel of a piece is above this
_MIN_EDGE = 0.02  # weaker pixels in a soft edge are paper

# A piece's size is the longer side of its box. These are shares of the largest piece's size.
_MIN_NEAR_SIZE = 0.12  # smaller pieces are dirt
_MIN_FAR_SIZE = 0.4  # smaller pieces are dirt, unless they are near a larger one
_NEAR = 0.2  # gap between boxes below which pieces are near
_EDGE_WIDTH = 0.06  # how far the soft edge of a stroke reaches


def find(colours: Colours, *, name: str) -> Grey:
    """The ink of a picture: float32 (H, W), 0 = paper, 1 = the ink's usual strength and above.

    Args:
        colours: float32 (H, W, C) in [0, 1], C is 1 or 3.
        name: the picture's name in error messages.

    Raises:
        BlankPictureError: nothing stands out from the paper.
    """
    strength = paper.remove(colours)
    is_large = max(strength.shape) > _MAX_ROUGH_SIDE
    smooth = cv2.GaussianBlur(strength, (0, 0), 1) if is_large else strength
    noise = min(_NOISE_FACTOR * paper.estimate_deviation(smooth), _MAX_NOISE_LIMIT)
    inked = smooth[smooth > max(BLANK_CONTRAST, noise)]
    if not inked.size:
        raise _blank(name)
    usual = paper.estimate_quantile(inked, 0.95)

    core = smooth > max(_CORE * usual, min(noise, _STRONG * usual))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(core.astype(np.uint8))
    starts, sides = stats[:, :2], stats[:, 2:4]  # (x, y) and (width, height); row 0 is the paper
    is_strong = np.zeros(count, dtype=bool)
    is_strong[labels[smooth > _STRONG * usual]] = True
    is_strong[0] = False
    if not is_strong.any():
        raise _blank(name)
    is_writing, largest = _select_writing(is_strong, starts, sides, core.shape)

    width = 2 * max(2, round(_EDGE_WIDTH * largest)) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    near_writing = cv2.dilate(is_writing[labels].astype(np.uint8), disk) > 0
    remainder = np.abs(smooth[~(near_writing | core)])
    roughness = paper.estimate_quantile(remainder, 0.98) if remainder.size else 0.0
    limit = min(max(_MIN_EDGE * usual, 1.5 * roughness), _CORE * usual)
    ink: Grey = np.where(near_writing & (smooth > limit), np.clip(strength / usual, 0, 1), 0)
    return ink.astype(np.float32, copy=False)


def _blank(name: str) -> BlankPictureError:
    return BlankPictureError(f"{name}: blank: nothing stands out from the paper")


def _select_writing(
    is_strong: Mask, starts: Sides, sides: Sides, shape: tuple[int, ...]
) -> tuple[Mask, int]:
    """Select the pieces that are writing, and not dirt.

    Args:
        is_strong: (N,), which of N pieces can be writing.
        starts: (N, 2), the left and upper edges of their boxes.
        sides: (N, 2), the widths and heights of their boxes.
        shape: (H, W) of the picture.

    Returns:
        Which pieces are writing, (N,), and the size of the largest in pixels.
    """
    sizes = np.where(is_strong, sides.max(axis=1), 0)
    largest = int(sizes.max())
    is_large = sizes > _MIN_FAR_SIZE * largest
    is_small = ~is_large & (sizes > _MIN_NEAR_SIZE * largest)
    if not is_small.any():  # as in most pictures
        return is_large, largest
    margin = math.ceil(_NEAR * largest)
    near_large = _cover(starts[is_large] - margin, (starts + sides)[is_large] + margin, shape)
    # sums[y, x]: covered pixels above and to the left, which give the covered pixels of any box.
    sums = cv2.integral(near_large.astype(np.uint8))
    (left, top), (right, bottom) = starts.T, (starts + sides).T
    covered = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    is_writing: Mask = is_large | (is_small & (covered > 0))
    return is_writing, largest


def _cover(starts: Sides, ends: Sides, shape: tuple[int, ...]) -> Mask:
    """The pixels, (H, W), that any of N boxes covers. The boxes may reach beyond the picture.

    Args:
        starts: (N, 2), the left and upper edges of the boxes.
        ends: (N, 2), the columns and rows after their right and lower edges.
        shape: (H, W).
    """
    limits = np.array(shape[::-1])
    (left, top), (right, bottom) = np.clip(starts, 0, limits).T, np.clip(ends, 0, limits).T
    changes = np.zeros([side + 1 for side in shape], dtype=np.int32)
    for rows, columns, change in (
        (top, left, 1),
        (top, right, -1),
        (bottom, left, -1),
        (bottom, right, 1),
    ):
        np.add.at(changes, (rows, columns), change)
    boxes: npt.NDArray[np.int32] = changes.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]
    return boxes > 0
