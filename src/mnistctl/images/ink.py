"""Telling ink from paper: dark on light or light on dark."""

import numpy as np

from mnistctl.errors import BlankPictureError
from mnistctl.images.reading import Grey

BLANK_CONTRAST = 0.08  # of black to white; fainter differences are paper, not writing
_NOISE_SPREADS = 4  # what differs from the paper by less than this many spreads is paper


def find(grey: Grey, *, name: str) -> Grey:
    """The ink of a picture, float32 (H, W): 0 = paper, 1 = the strongest ink.

    The picture's edge shows what paper is; ink is whatever side of it weighs more.

    Args:
        grey: float32 (H, W) in [0, 1].
        name: what to call it in an error.

    Raises:
        BlankPictureError: blank: nothing stands out from the paper.
    """
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    paper = np.median(edge)
    difference = paper - grey
    if np.maximum(-difference, 0).sum() > np.maximum(difference, 0).sum():
        difference = -difference  # light on dark
    strongest = np.quantile(difference, 0.999)
    if strongest < BLANK_CONTRAST:
        strongest = difference.max()
    if strongest < BLANK_CONTRAST:
        raise BlankPictureError(f"{name}: blank: nothing on it stands out from the paper")
    noise = _NOISE_SPREADS * float(np.median(np.abs(edge - paper)))
    ink = np.where(difference > min(noise, strongest / 2), difference / strongest, 0)
    return np.clip(ink, 0, 1).astype(np.float32)
