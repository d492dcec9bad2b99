"""Pictures for people, drawn by matplotlib."""

import io
import warnings
from collections.abc import Sequence
from typing import Any

from mnistctl.predictor import Images

_DPI = 150
_LABEL: dict[str, Any] = {
    "rotation": 0,
    "ha": "right",
    "va": "center",
    "fontsize": 10,
    "parse_math": False,  # a name may hold dollars
}
_LONGEST_NAME = 24  # characters beside a row


def sample_sheet(samples: Sequence[tuple[str, Images]], *, title: str) -> bytes:
    """A PNG with a row of images for each class.

    Args:
        samples: class name and its images, uint8 (N, 28, 28), N of 1 or more; at least one class.
        title: of the sheet.
    """
    import numpy as np
    from matplotlib.figure import Figure  # 0.3 s; without pyplot, so no window system is looked for

    columns = max(len(images) for _, images in samples)
    figure = Figure(figsize=(1.6 + 0.5 * columns, 0.6 + 0.5 * len(samples)), layout="constrained")
    figure.suptitle(title, fontsize=11, parse_math=False)
    grid = figure.subplots(len(samples), 1, squeeze=False)[:, 0]
    for axes, (name, images) in zip(grid, samples, strict=True):
        strip = np.zeros((28, 28 * columns), dtype=np.uint8)
        strip[:, : 28 * len(images)] = np.hstack(list(images))
        axes.imshow(strip, cmap="gray_r", vmin=0, vmax=255)
        axes.set_ylabel(
            _short(name), rotation=0, ha="right", va="center", fontsize=10, parse_math=False
        )
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    png = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class name in another script, or of vast length
        figure.savefig(png, dpi=_DPI, bbox_inches="tight")
    return png.getvalue()


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
