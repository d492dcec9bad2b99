"""Taking the paper away: its colour, the light that falls on it, and the lines printed on it."""

import cv2
import numpy as np
import numpy.typing as npt

from mnistctl.images.decode import Colours, Grey

Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

# Pictures are read side by side; threads within one only wait for each other.
cv2.setNumThreads(1)

_SIDE = 96  # pixels, of the small picture that paper is found on: its colour changes slowly
_WINDOW = 0.9  # of the picture's longer side: over as much there is more paper than ink
_FAINTEST = 0.04  # of black to white: what differs less from its surroundings is paper for sure
_SPREADS = (16.0, 6.0, 2.0)  # of 96 pixels: how far away the paper is looked at, under the ink
_DIMMEST = 0.4  # of the brightest light: how far a shadow is made up for

_FEWEST = 100  # pixels on the shorter side: smaller pictures are too small for lines
_STEEPEST = 0.1  # of the lines on the paper: rows a column
_COVERED, _REACHED = 0.55, 0.4  # how much of a line is seen: in all, and at either end
_DARKER = 1.5  # than a line: what is, is ink across it
_ENOUGH = 20_000  # pixels to measure by, of a picture that has more


def remove(colours: Colours) -> Grey:
    """How much every pixel differs from its paper, in the direction of ink.

    Args:
        colours: float32 (H, W, C) in [0, 1], C of 1 or 3.

    Returns:
        float32 (H, W): around 0 for paper, and above for ink, whatever the colours of both.
    """
    paper = _paper(colours)
    strength = _along_strongest(paper - colours)
    light = paper.mean(axis=-1)
    if light.size > 1:  # ink in a shadow differs less from its paper
        strength = strength / np.clip(light / max(light.max(), 1e-6), _DIMMEST, 1)
    if min(strength.shape) < _FEWEST:
        return strength
    return _without_level_lines(_without_level_lines(strength).T).T


def _paper(colours: Colours) -> Colours:
    """The picture's colours without what is written on it, (H, W, C); (C,) where they are even."""
    border = (colours[0], colours[-1], colours[:, 0], colours[:, -1])
    if all((side == colours[0, 0]).all() for side in border):  # drawn, not photographed
        even: Colours = colours[0, 0]
        return even
    height, width = colours.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(colours, size, interpolation=cv2.INTER_AREA).reshape(*size[::-1], -1)
    # Ink is less than half of any large part, so the median is paper; shadows keep their edges in it.
    levels = np.rint(small * 255).astype(np.uint8)
    median = cv2.medianBlur(levels, int(_WINDOW * max(size)) | 1).reshape(levels.shape)
    difference = cv2.absdiff(levels, median).reshape(levels.shape).max(axis=2)
    limit, _ = cv2.threshold(difference, 0, 255, cv2.THRESH_OTSU)
    written = difference > max(limit / 2, _FAINTEST * 255)
    around = cv2.dilate(written.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    paper = _filled(small, median / np.float32(255), around)
    full: Colours = cv2.resize(paper, (width, height), interpolation=cv2.INTER_LINEAR)
    return full.reshape(colours.shape)


def _filled(small: Colours, guess: Colours, written: Mask) -> Colours:
    """The colours of the paper, with those around it in place of what is written."""
    weights = (~written).astype(np.float32)[..., None]
    for spread in _SPREADS:  # ever nearer, as far as there is paper so near
        blurred = np.float32(spread * max(small.shape) / _SIDE)
        share = cv2.GaussianBlur(weights, (0, 0), blurred)[..., None]
        mean = cv2.GaussianBlur(small * weights, (0, 0), blurred).reshape(small.shape)
        trust = np.clip(4 * share - 0.2, 0, 1)
        guess = guess + trust * (mean / np.maximum(share, 1e-3) - guess)
    return guess


def _along_strongest(difference: Colours) -> Grey:
    """Differences of colour as one number: along the direction in which they are largest."""
    plane = difference[..., 0]
    if difference.shape[2] > 1:
        flat = difference.reshape(-1, difference.shape[2])
        lengths = np.einsum("ij,ij->i", flat, flat)
        strong = flat[lengths >= 0.25 * lengths.max()]
        _, directions = np.linalg.eigh(strong.T @ strong)
        plane = difference @ directions[:, -1]
    # Whichever side of the paper weighs more is ink: dark on light or light on dark.
    return plane if plane.sum(dtype=np.float64) >= 0 else -plane


def _without_level_lines(strength: Grey) -> Grey:
    """Without the lines of ruled paper, which cross the picture from left to right."""
    height, width = strength.shape
    noise = spread(strength)
    marked = strength > max(_FAINTEST, 3 * noise)
    slope = _commonest_slope(*np.nonzero(marked))
    # Where every pixel lies across the lines, counted in rows.
    places = np.rint(np.arange(height)[:, None] - slope * np.arange(width)).astype(np.intp)
    places -= places.min()
    count = int(places.max()) + 1
    is_line = np.ones(count, dtype=bool)
    end = max(2, width // 25)
    for part, least in ((np.s_[:], _COVERED), (np.s_[:, :end], _REACHED), (np.s_[:, -end:], _REACHED)):
        pixels = np.bincount(places[part].ravel(), minlength=count)
        marks = np.bincount(places[part][marked[part]], minlength=count)
        is_line &= (pixels > 0) & (marks >= least * pixels)
    if not is_line.any():
        return strength
    is_line = np.convolve(is_line, np.ones(3), mode="same") > 0  # with its soft rim
    within = is_line[places]
    place_of, values = places[within], strength[within]
    usual = np.zeros(count, dtype=np.float32)
    for place in np.flatnonzero(is_line):
        usual[place] = np.quantile(values[place_of == place], 0.6)
    strongest = np.max([np.roll(usual, step) for step in (-1, 0, 1)], axis=0)
    limits = np.where(is_line, _DARKER * strongest + 3 * noise, -np.inf)
    return np.where(strength < limits[places], np.float32(0), strength)


def _commonest_slope(rows: Indices, columns: Indices) -> float:
    """The slope, in rows a column, at which most marks lie in line."""
    if len(rows) > _ENOUGH:
        some = np.random.default_rng(0).permutation(len(rows))[:_ENOUGH]
        rows, columns = rows[some], columns[some]
    best = 0.0
    for reach, step in ((_STEEPEST, 0.004), (0.004, 0.0005)):
        slopes = best + np.arange(-reach, reach + step / 2, step)
        best = float(max(slopes, key=lambda slope: _alignment(rows - slope * columns)))
    return best


def _alignment(places: npt.NDArray[np.float64]) -> float:
    """How much marks gather in few places: the sum of the squares of how many lie in each."""
    counts = np.bincount((places - places.min(initial=0)).astype(np.intp))
    return float((counts.astype(np.float64) ** 2).sum())


def spread(values: Grey) -> float:
    """A standard deviation that outliers, which ink is on paper, do not change much."""
    return 1.4826 * quantile(np.abs(values), 0.5)


def quantile(values: Grey, share: float) -> float:
    """The value that about so large a share of values is below, of any number of them above 0."""
    some = values.ravel()[:: values.size // _ENOUGH | 1]
    place = min(int(share * some.size), some.size - 1)
    return float(np.sort(some)[place])  # with so many equal values np.partition takes ten times as long
