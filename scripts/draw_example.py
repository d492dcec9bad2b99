"""Draw the picture of `mnistctl predict --example`: a 7 in blue ink on paper, under a lamp.

    python scripts/draw_example.py

Writes `src/mnistctl/bundled/example.png`.
"""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from mnistctl.api.picture_requests import EXAMPLE

SIDE = 240  # pixels
SCALE = 4  # it is drawn at this size and reduced, which makes smooth edges
PAPER, INK = np.array([246, 241, 228.0]), np.array([32, 52, 128.0])  # red, green, blue
COLOURS = 128  # of the file
# Each stroke is a curve through these points, (x, y) in [0, 1], with the pen's width there in pixels.
STROKES = (
    ((0.27, 0.27, 7), (0.40, 0.25, 9), (0.56, 0.26, 9), (0.73, 0.23, 10)),
    ((0.73, 0.23, 10), (0.62, 0.42, 9), (0.51, 0.60, 10), (0.46, 0.82, 8)),
    ((0.38, 0.54, 7), (0.50, 0.52, 9), (0.68, 0.50, 7)),
)

Points = npt.NDArray[np.float64]


def main() -> None:
    """Draw and write the picture."""
    ink = np.zeros((SIDE * SCALE, SIDE * SCALE), dtype=np.uint8)
    for stroke in STROKES:
        for x, y, width in curve(np.array(stroke)):
            centre = (round(x * SIDE * SCALE), round(y * SIDE * SCALE))
            cv2.circle(ink, centre, round(width * SCALE / 2), 255, thickness=-1)
    coverage = cv2.resize(ink, (SIDE, SIDE), interpolation=cv2.INTER_AREA)[..., None] / 255
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    light = 1 - 0.22 * np.hypot(columns - 0.2, rows - 0.1)[..., None]
    picture = Image.fromarray(np.rint((PAPER + coverage * (INK - PAPER)) * light).astype(np.uint8))
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(EXAMPLE, optimize=True)
    print(f"{EXAMPLE}: {Path(EXAMPLE).stat().st_size:,} bytes")


def curve(points: Points, count: int = 400) -> Points:
    """Points on the polynomial through the given ones."""
    places, at = np.linspace(0, 1, len(points)), np.linspace(0, 1, count)
    columns = [np.polyval(np.polyfit(places, column, len(points) - 1), at) for column in points.T]
    return np.stack(columns, axis=1)


if __name__ == "__main__":
    main()
