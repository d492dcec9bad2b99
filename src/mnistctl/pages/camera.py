"""The picture that a camera or a scanner takes of a page."""

import cv2
import numpy as np
import numpy.typing as npt

Ink = npt.NDArray[np.float32]  # (H, W) in [0, 1], 0 = paper
Pixels = npt.NDArray[np.uint8]  # (H, W)


def photograph(ink: Ink, paper: Ink, generator: np.random.Generator) -> Pixels:
    """The picture that a camera or a scanner takes of a page."""
    rows, columns = ink.shape
    strength = float(generator.uniform(0.35, 1.0)) if generator.random() < 0.7 else 1.0
    if generator.random() < 0.3:  # a pen that runs dry, a pencil on rough paper
        coarse = generator.uniform(0.3, 1.0, (max(2, rows // 3), max(2, columns // 3))).astype(
            np.float32
        )
        ink = ink * cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_LINEAR)
    dark = 1 - (1 - strength * ink) * (1 - paper)
    if generator.random() < 0.5:
        dark = cv2.GaussianBlur(dark, (0, 0), float(generator.uniform(0.3, 1.3)))
    if generator.random() < 0.25:  # a small picture, enlarged
        factor = generator.uniform(0.4, 0.9)
        small = cv2.resize(
            dark,
            (max(2, int(columns * factor)), max(2, int(rows * factor))),
            interpolation=cv2.INTER_AREA,
        )
        dark = cv2.resize(small, (columns, rows), interpolation=cv2.INTER_LINEAR)
    white, black = generator.uniform(0.6, 1.0), generator.uniform(0, 0.35)
    bright = white - dark * (white - black * white)
    if generator.random() < 0.5:  # uneven light
        unevenness = 0.03 if generator.random() < 0.8 else 0.1
        coarse = 1 + generator.normal(0, unevenness, (3, 5)).astype(np.float32)
        bright = bright * cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC)
    if generator.random() < 0.5:
        bright = bright + generator.normal(0, generator.uniform(0.003, 0.03), bright.shape)
    pixels = np.clip(bright * 255, 0, 255).astype(np.uint8)
    if generator.random() < 0.3:
        quality = int(generator.integers(25, 95))
        _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        pixels = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)
    return stretch(pixels)


def stretch(pixels: Pixels) -> Pixels:
    """Grey levels such that paper is 0 and the darkest ink 255.

    Args:
        pixels: uint8 (H, W), dark ink on bright paper.
    """
    sample = pixels[:: max(1, pixels.shape[0] // 256), :: max(1, pixels.shape[1] // 256)]
    dark, bright = np.percentile(sample, (0.5, 90))
    spread = max(float(bright - dark), 32.0)
    stretched: Pixels = np.clip((bright - pixels.astype(np.float32)) * (255 / spread), 0, 255).astype(
        np.uint8
    )
    return stretched
