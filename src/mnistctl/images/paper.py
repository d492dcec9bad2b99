"""Remove the paper from a picture: its colour, uneven light, and printed lines."""

import cv2
import numpy as np
import numpy.typing as npt

from mnistctl.images.decode import Colours, Grey

Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

# Several pictures are processed in parallel, so threads inside OpenCV would only compete.
cv2.setNumThreads(1)

# Colour of the paper. Contrast is measured from 0 to 1, the difference between black and white.
_REDUCED_SIDE = 96  # pixels: longer side of the reduced picture in which the colour is estimated
_MEDIAN_WINDOW = 0.9  # median filter's width / longer side; so large a window is mostly paper
_MIN_CONTRAST = 0.04  # smaller differences from the surroundings are always paper
_FILL_DEVIATIONS = (16.0, 6.0, 2.0)  # pixels of the reduced picture: blurs that fill paper in under ink
_MIN_LIGHT = 0.4  # share of the brightest light: darker shadows are corrected as if they had this

# Printed lines.
_MIN_LINE_SIDE = 100  # pixels: no lines are looked for in a picture with a shorter side
_MAX_SLOPE = 0.1  # rows per column: the steepest line
_MIN_COVERAGE = 0.55  # share of a line's pixels that are visible, over its whole length
_MIN_END_COVERAGE = 0.4  # the same share at the left and at the right end
_MIN_INK_RATIO = 1.5  # ink that crosses a line is at least this many times as strong as the line

_MAX_SAMPLES = 20_000  # pixels: slopes and quantiles are estimated from a sample of about this size


def remove(colours: Colours) -> Grey:
    """How much each pixel differs from its paper, in the direction of the ink.

    Args:
        colours: float32 (H, W, C) in [0, 1], C is 1 or 3.

    Returns:
        float32 (H, W): about 0 for paper and larger for ink, whatever the colours of both.
    """
    paper = _estimate_paper(colours)
    strength = _project(paper - colours)
    light = paper.mean(axis=-1)
    if light.size > 1:  # ink in a shadow differs less from its paper
        strength = strength / np.clip(light / max(light.max(), 1e-6), _MIN_LIGHT, 1)
    if min(strength.shape) < _MIN_LINE_SIDE:
        return strength
    return _remove_level_lines(_remove_level_lines(strength).T).T


def even_brightness(colours: Colours) -> Grey:
    """The brightness of a picture as if its paper were bright and evenly lit.

    Args:
        colours: float32 (H, W, C) in [0, 1], C is 1 or 3.

    Returns:
        float32 (H, W): about 1 for paper, lower for ink. Light ink on dark paper is inverted.
    """
    brightness = colours.mean(axis=-1)
    paper = _estimate_paper(colours).mean(axis=-1)
    step = max(1, max(brightness.shape) // _REDUCED_SIDE)
    darkest, middle, brightest = np.percentile(brightness[::step, ::step], (1, 50, 99))
    if brightest - middle > middle - darkest:  # most pixels are paper, so the ink is the far end
        brightness, paper = 1 - brightness, 1 - paper
    even: Grey = brightness / np.clip(paper, _MIN_LIGHT, 1)
    return even


def _estimate_paper(colours: Colours) -> Colours:
    """The paper's colours without the writing: (H, W, C), or (C,) if the border has one colour."""
    border = (colours[0], colours[-1], colours[:, 0], colours[:, -1])
    if all((side == colours[0, 0]).all() for side in border):  # a drawing, not a photo
        uniform: Colours = colours[0, 0]
        return uniform
    height, width = colours.shape[:2]
    scale = min(1.0, _REDUCED_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    reduced = cv2.resize(colours, size, interpolation=cv2.INTER_AREA).reshape(*size[::-1], -1)
    # Ink covers less than half of any large area, so the median is paper. It keeps shadows' edges.
    levels = np.rint(reduced * 255).astype(np.uint8)
    median = cv2.medianBlur(levels, int(_MEDIAN_WINDOW * max(size)) | 1).reshape(levels.shape)
    difference = cv2.absdiff(levels, median).reshape(levels.shape).max(axis=2)
    limit, _ = cv2.threshold(difference, 0, 255, cv2.THRESH_OTSU)
    is_ink = difference > max(limit / 2, _MIN_CONTRAST * 255)
    near_ink = cv2.dilate(is_ink.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    paper = _fill_in(reduced, median / np.float32(255), near_ink)
    full: Colours = cv2.resize(paper, (width, height), interpolation=cv2.INTER_LINEAR)
    return full.reshape(colours.shape)


def _fill_in(reduced: Colours, paper: Colours, near_ink: Mask) -> Colours:
    """Refine the estimate of the paper with the colours around the ink.

    Args:
        reduced: the reduced picture, (H, W, C).
        paper: a first estimate of the paper's colours, (H, W, C).
        near_ink: (H, W), where the picture's colours are not the paper's.
    """
    weights = (~near_ink).astype(np.float32)[..., None]
    for deviation in _FILL_DEVIATIONS:  # closer paper replaces the estimate wherever there is enough
        blur = np.float32(deviation * max(reduced.shape) / _REDUCED_SIDE)
        share = cv2.GaussianBlur(weights, (0, 0), blur)[..., None]
        mean = cv2.GaussianBlur(reduced * weights, (0, 0), blur).reshape(reduced.shape)
        confidence = np.clip(4 * share - 0.2, 0, 1)
        paper = paper + confidence * (mean / np.maximum(share, 1e-3) - paper)
    return paper


def _project(difference: Colours) -> Grey:
    """Project differences of colour onto the direction in which they are largest."""
    plane = difference[..., 0]
    if difference.shape[2] > 1:
        pixels = difference.reshape(-1, difference.shape[2])
        squares = np.einsum("ij,ij->i", pixels, pixels)
        strongest = pixels[squares >= 0.25 * squares.max()]
        _, directions = np.linalg.eigh(strongest.T @ strongest)
        plane = difference @ directions[:, -1]
    # The side of the paper with the larger sum is ink: dark on light, or light on dark.
    return plane if plane.sum(dtype=np.float64) >= 0 else -plane


def _remove_level_lines(strength: Grey) -> Grey:
    """Remove lines that cross the picture from left to right, such as those of ruled paper."""
    height, width = strength.shape
    noise = estimate_deviation(strength)
    is_marked = strength > max(_MIN_CONTRAST, 3 * noise)
    slope = _most_common_slope(*np.nonzero(is_marked))
    # The row in which a line with this slope through each pixel starts.
    starts = np.rint(np.arange(height)[:, None] - slope * np.arange(width)).astype(np.intp)
    starts -= starts.min()
    count = int(starts.max()) + 1
    is_line = np.ones(count, dtype=bool)
    end = max(2, width // 25)
    for part, least in (
        (np.s_[:], _MIN_COVERAGE),
        (np.s_[:, :end], _MIN_END_COVERAGE),
        (np.s_[:, -end:], _MIN_END_COVERAGE),
    ):
        pixels = np.bincount(starts[part].ravel(), minlength=count)
        marked = np.bincount(starts[part][is_marked[part]], minlength=count)
        is_line &= (pixels > 0) & (marked >= least * pixels)
    if not is_line.any():
        return strength
    is_line = np.convolve(is_line, np.ones(3), mode="same") > 0  # add a line's soft edges
    on_line = np.flatnonzero(is_line[starts])
    on_line = on_line[np.argsort(starts.ravel()[on_line], kind="stable")]
    line_starts, firsts = np.unique(starts.ravel()[on_line], return_index=True)
    usual = np.zeros(count, dtype=np.float32)
    for start, values in zip(line_starts, np.split(strength.ravel()[on_line], firsts[1:]), strict=True):
        usual[start] = np.quantile(values, 0.6)
    strongest = np.max([np.roll(usual, step) for step in (-1, 0, 1)], axis=0)
    limits = np.where(is_line, _MIN_INK_RATIO * strongest + 3 * noise, -np.inf)
    return np.where(strength < limits[starts], np.float32(0), strength)


def _most_common_slope(rows: Indices, columns: Indices) -> float:
    """The slope, in rows per column, along which most of the marked pixels are aligned."""
    if len(rows) > _MAX_SAMPLES:
        sample = np.random.default_rng(0).permutation(len(rows))[:_MAX_SAMPLES]
        rows, columns = rows[sample], columns[sample]
    best = 0.0
    for limit, step in ((_MAX_SLOPE, 0.004), (0.004, 0.0005)):
        slopes = best + np.arange(-limit, limit + step / 2, step)
        best = float(max(slopes, key=lambda slope: _alignment(rows - slope * columns)))
    return best


def _alignment(starts: npt.NDArray[np.float64]) -> float:
    """How strongly pixels concentrate on few lines: the sum of the squared counts per line."""
    counts = np.bincount((starts - starts.min(initial=0)).astype(np.intp))
    return float((counts.astype(np.float64) ** 2).sum())


def estimate_deviation(values: Grey) -> float:
    """A robust estimate of the standard deviation of noise around 0; ink changes it little."""
    return 1.4826 * estimate_quantile(np.abs(values), 0.5)


def estimate_quantile(values: Grey, share: float) -> float:
    """The quantile of values that is larger than `share` of them, estimated from a sample."""
    sample = values.ravel()[:: values.size // _MAX_SAMPLES | 1]
    index = min(int(share * sample.size), sample.size - 1)
    return float(np.sort(sample)[index])  # np.partition is ten times slower on many equal values
