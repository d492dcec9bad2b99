"""Decode picture files of any orientation, bit depth, colour space and transparency."""

import io
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from mnistctl.errors import PictureError, one_line
from mnistctl.system import files

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"})
MAX_PIXELS = 64_000_000  # width × height; larger pictures are rejected before any pixel is decoded
WORKING_SIDE = 1_024  # pixels: a picture with a longer side is reduced to this

Grey = npt.NDArray[np.float32]  # (H, W)
Colours = npt.NDArray[np.float32]  # (H, W, 1) or (H, W, 3)


class Picture(NamedTuple):
    """A decoded picture: upright, its longer side at most 1,024 pixels."""

    colours: Colours  # 0 = black, 1 = white; 1 channel for a grey picture, else red, green, blue
    scale: float  # size of the file's picture divided by the size of this one; 1 or more


def read(source: Path | bytes, *, name: str) -> Picture:
    """Decode a picture.

    Transparent areas become paper: white behind dark drawings, black behind light ones.

    Args:
        source: a file, or the content of one.
        name: the picture's name in error messages.

    Raises:
        PictureError: the file cannot be read, is empty or damaged, is not a picture of a known
            format, or has more than 64 megapixels.
    """
    content = source if isinstance(source, bytes) else files.read_bytes(source, PictureError)
    if not content:
        raise PictureError(f"{name}: the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large pictures; checked below
            with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise PictureError(
                        f"{name}: {picture.width:,}×{picture.height:,} pixels; "
                        f"the maximum is {MAX_PIXELS // 1_000_000} megapixels"
                    )
                longer_side = max(picture.size)
                picture.draft(None, (WORKING_SIDE, WORKING_SIDE))
                colours = _colours(ImageOps.exif_transpose(_reduced(picture)))
                return Picture(colours, longer_side / max(colours.shape[:2]))
    except UnidentifiedImageError as error:
        formats = ", ".join(FORMATS)
        raise PictureError(f"{name}: not a picture; supported formats: {formats}") from error
    except PictureError:
        raise
    except Exception as error:  # Pillow's decoders raise exceptions of any type for damaged files
        raise PictureError(f"{name}: the picture is damaged ({one_line(error)})") from error


def _reduced(picture: Image.Image) -> Image.Image:
    if max(picture.size) <= WORKING_SIDE:
        return picture
    if picture.mode == "1":  # single bits cannot be averaged
        picture = picture.convert("L")
    if picture.mode == "P":  # palette indices cannot be averaged
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    scale = WORKING_SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    reduced = picture.resize(size, Image.Resampling.BOX)
    reduced.info = picture.info
    return reduced


def _colours(picture: Image.Image) -> Colours:
    if picture.mode.startswith(("I", "F")):  # 16 bits per pixel, which Pillow's conversion clips
        return _scaled(picture, white=65_535)
    if not picture.has_transparency_data:
        return _scaled(picture.convert("L" if picture.mode in ("1", "L") else "RGB"))
    layers = _scaled(picture.convert("RGBA"))
    colours, opacity = layers[..., :3], layers[..., 3:]
    mean_drawn = float((colours * opacity).mean() / max(opacity.mean(), 1e-6))
    paper = np.float32(1.0 if mean_drawn < 0.5 else 0.0)
    return colours * opacity + paper * (1 - opacity)


def _scaled(picture: Image.Image, *, white: int = 255) -> Colours:
    levels: Colours = np.asarray(picture, dtype=np.float32) / np.float32(white)
    return levels.clip(0, 1).reshape(*levels.shape[:2], -1)
