"""Opening pictures: any orientation, depth, colour space and transparency -> planes of colour."""

import io
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from mnistctl.errors import PictureError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"})
MAX_PIXELS = 64_000_000
WORKING_SIDE = 1_024  # longer pictures are reduced to this first; a digit needs 20 pixels of it

Grey = npt.NDArray[np.float32]  # (H, W)
Colours = npt.NDArray[np.float32]  # (H, W, 1) or (H, W, 3)


class Picture(NamedTuple):
    """A picture, upright, its longer side at most 1,024 pixels."""

    colours: Colours  # 0 black, 1 white; 1 channel where it has no colour, else red, green and blue
    scale: float  # how many times as large the file's own is


def read(source: Path | bytes, *, name: str) -> Picture:
    """Open a picture.

    Transparent parts take the colour of paper: white under dark drawings, black under light ones.

    Raises:
        PictureError: not a picture of a known format, empty, damaged, or over 64 megapixels.
    """
    try:
        content = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        raise PictureError(f"{name}: {error.strerror or error}") from error
    if not content:
        raise PictureError(f"{name}: an empty file, not a picture")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is checked below, before any pixel is read
            with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise PictureError(
                        f"{name}: {picture.width:,}×{picture.height:,} pixels; "
                        f"at most {MAX_PIXELS // 1_000_000} megapixels are read"
                    )
                longest = max(picture.size)
                picture.draft(None, (WORKING_SIDE, WORKING_SIDE))
                colours = _colours(ImageOps.exif_transpose(_reduced(picture)))
                return Picture(colours, longest / max(colours.shape[:2]))
    except UnidentifiedImageError as error:
        known = ", ".join(FORMATS)
        raise PictureError(f"{name}: not a picture; formats read: {known}") from error
    except PictureError:
        raise
    except Exception as error:  # Pillow's decoders raise anything for damaged files
        raise PictureError(f"{name}: a damaged picture ({error})") from error


def _reduced(picture: Image.Image) -> Image.Image:
    if max(picture.size) <= WORKING_SIDE:
        return picture
    if picture.mode == "1":  # bits cannot be averaged
        picture = picture.convert("L")
    if picture.mode == "P":  # nor palette indices
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    scale = WORKING_SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    reduced = picture.resize(size, Image.Resampling.BOX)
    reduced.info = picture.info
    return reduced


def _colours(picture: Image.Image) -> Colours:
    if picture.mode.startswith(("I", "F")):  # 16 bits a pixel; Pillow's own conversion clips them
        return _scaled(picture, white=65_535)
    if not picture.has_transparency_data:
        return _scaled(picture.convert("L" if picture.mode in ("1", "L") else "RGB"))
    layers = _scaled(picture.convert("RGBA"))
    colours, opacity = layers[..., :3], layers[..., 3:]
    drawn = float((colours * opacity).mean() / max(opacity.mean(), 1e-6))
    paper = np.float32(1.0 if drawn < 0.5 else 0.0)
    return colours * opacity + paper * (1 - opacity)


def _scaled(picture: Image.Image, *, white: int = 255) -> Colours:
    levels: Colours = np.asarray(picture, dtype=np.float32) / np.float32(white)
    return levels.clip(0, 1).reshape(*levels.shape[:2], -1)
