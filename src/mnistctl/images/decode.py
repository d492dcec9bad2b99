"""Decode picture files of any orientation, bit depth, colour space and transparency."""

import contextlib
import functools
import io
import math
import os
import threading
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from mnistctl.errors import PictureError, one_line
from mnistctl.system import files

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "JPEG2000", "AVIF")  # Pillow opens no others
_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".jp2", ".j2k", ".avif"}
)
_PAGED_SUFFIXES = frozenset({".tif", ".tiff", ".pdf"})
_PAGED_STARTS = (b"II", b"MM", b"%PDF")
# Formats that need an optional package: the extra of mnistctl, and the module that it installs.
_EXTRAS = {"HEIF": ("heif", "pillow_heif"), "PDF": ("pdf", "pypdfium2")}
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_EXTRA_SUFFIXES = {".heic": "HEIF", ".heif": "HEIF", ".pdf": "PDF"}

MAX_PAGES = 1_000  # of a file
MAX_PIXELS = 64_000_000  # width × height; larger pictures are rejected before any pixel is decoded
WORKING_SIDE = 1_024  # pixels: a picture with a longer side is reduced to this

# Memory that decoding takes, in bytes per pixel of the file. Formats that need more have a lower limit.
_BYTES_PER_PIXEL = {"WEBP": 16, "JPEG2000": 19, "AVIF": 9, "HEIF": 7}
_USUAL_BYTES_PER_PIXEL = 6
_MAX_BYTES = 450_000_000
_LARGE_BYTES = 100_000_000  # pictures that need more are decoded one at a time
_BAND_PIXELS = 2_000_000  # large pictures are converted and reduced in bands of this size
_large_picture = threading.Lock()

Grey = npt.NDArray[np.float32]  # (H, W)
Colours = npt.NDArray[np.float32]  # (H, W, 1) or (H, W, 3)


class Picture(NamedTuple):
    """A decoded picture: upright, its longer side at most 1,024 pixels."""

    colours: Colours  # 0 = black, 1 = white; 1 channel for a grey picture, else red, green, blue
    scale: float  # size of the file's picture divided by the size of this one; 1 or more


def suffixes() -> frozenset[str]:
    """The suffixes of the pictures that can be read here."""
    return _SUFFIXES | {suffix for suffix in _EXTRA_SUFFIXES if missing_extra(suffix) is None}


def missing_extra(suffix: str) -> str | None:
    """The command that installs the package which pictures with this suffix need; None: installed."""
    return _missing_extra(_EXTRA_SUFFIXES.get(suffix.lower(), ""))


def _missing_extra(format_name: str) -> str | None:
    if format_name not in _EXTRAS:
        return None
    extra, module = _EXTRAS[format_name]
    return None if find_spec(module) else f"pip install 'mnistctl[{extra}]'"


def read(source: Path | bytes, *, name: str, page: int | None = None) -> Picture:
    """Decode a picture.

    Transparent areas become paper: white behind dark drawings, black behind light ones.

    Args:
        source: a file, or the content of one.
        name: the picture's name in error messages.
        page: of a TIFF or PDF file, from 1; None: the first.

    Raises:
        PictureError: the file cannot be read, is empty or damaged, is not a picture of a known
            format, or has too many pixels.
    """
    with _open(source, name) as (stream, format_name):
        if format_name == "PDF":
            from mnistctl.images import pdf  # imports multiprocessing, 20 ms

            picture, scale = pdf.render(stream.read(), page or 1, name=name)
            colours = _colours(_reduced(picture))
            return Picture(colours, scale * max(picture.size) / max(colours.shape[:2]))
        with _open_picture(stream, format_name, name) as picture:
            if page is not None:
                picture.seek(page - 1)
            longer_side = max(picture.size)
            is_large = _check_size(picture, name) > _LARGE_BYTES
            picture.draft(None, (WORKING_SIDE, WORKING_SIDE))  # JPEG is decoded at a smaller size
            with _large_picture if is_large else contextlib.nullcontext():
                colours = _colours(ImageOps.exif_transpose(_reduced(picture)))
            return Picture(colours, longer_side / max(colours.shape[:2]))


def list_pages(source: Path | bytes, *, name: str) -> list[int | None]:
    """The numbers of a file's pages, from 1; [None] for a file that has one page, or cannot be read.

    Raises:
        PictureError: the file has too many pages.
    """
    count = 1
    if isinstance(source, bytes):
        is_paged = source.startswith(_PAGED_STARTS)
    else:
        is_paged = source.suffix.lower() in _PAGED_SUFFIXES
    if is_paged:
        with contextlib.suppress(PictureError), _open(source, name) as (stream, format_name):
            if format_name == "PDF":
                from mnistctl.images import pdf

                count = pdf.count_pages(stream.read(), name=name)
            else:
                with _open_picture(stream, format_name, name) as picture:
                    count = _count_pages(picture)
    if count > MAX_PAGES:
        raise PictureError(f"{name}: more than {MAX_PAGES:,} pages; split the file")
    return [None] if count == 1 else list(range(1, count + 1))


@contextlib.contextmanager
def _open(source: Path | bytes, name: str) -> Iterator[tuple[BinaryIO, str]]:
    """Open a file. Yields its bytes, and the name of its format if Pillow needs help with that."""
    with contextlib.ExitStack() as stack:
        stream: BinaryIO
        if isinstance(source, bytes):
            stream = io.BytesIO(source)
        else:
            stream = stack.enter_context(files.open_regular(source, PictureError))
            size = os.fstat(stream.fileno()).st_size
            if size > files.LIMIT_BYTES:
                raise PictureError(f"{name}: {size:,} bytes; at most {files.LIMIT_BYTES:,} are read")
        start = stream.read(32)
        stream.seek(0)
        if not start:
            raise PictureError(f"{name}: the file is empty")
        format_name = ""
        if start.startswith(b"%PDF"):
            format_name = "PDF"
        elif start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS and b"avif" not in start:
            format_name = "HEIF"
        if command := _missing_extra(format_name):
            raise PictureError(f"{name}: {format_name} needs an optional package; run {command}")
        yield stream, format_name


@contextlib.contextmanager
def _open_picture(stream: BinaryIO, format_name: str, name: str) -> Iterator[Image.Image]:
    """Open a picture with Pillow, and raise all its errors as PictureError."""
    if format_name == "HEIF":
        import pillow_heif  # loads 26 MB of libraries

        pillow_heif.register_heif_opener()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large pictures; `read` checks the size
            with Image.open(stream, formats=[format_name] if format_name else FORMATS) as picture:
                if picture.format == "TIFF":
                    _silence_libtiff()
                yield picture
    except UnidentifiedImageError as error:
        known = ", ".join((*FORMATS, *_EXTRAS))
        raise PictureError(f"{name}: not a picture; supported formats: {known}") from error
    except PictureError:
        raise
    except Exception as error:  # Pillow's decoders raise exceptions of any type for damaged files
        raise PictureError(f"{name}: the picture is damaged ({one_line(error)})") from error


@functools.cache
def _silence_libtiff() -> None:
    """Keep the messages about damaged files, which are raised as exceptions too, off stderr."""
    import ctypes

    with contextlib.suppress(AttributeError, OSError):  # a Pillow with libtiff built in
        library = ctypes.CDLL(Image.core.__file__)  # type: ignore[attr-defined]
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


def _count_pages(picture: Image.Image) -> int:
    """The pages of a TIFF, 1 for other formats. It stops above the maximum: files can have loops."""
    count = 1
    if picture.format == "TIFF":
        with contextlib.suppress(EOFError):
            while count <= MAX_PAGES:
                picture.seek(count)
                count += 1
    return count


def _check_size(picture: Image.Image, name: str) -> int:
    """Check the number of pixels; returns the bytes that decoding takes."""
    pixels = picture.width * picture.height
    bytes_per_pixel = _BYTES_PER_PIXEL.get(picture.format or "", _USUAL_BYTES_PER_PIXEL)
    if picture.format == "JPEG2000" and pixels * bytes_per_pixel > _MAX_BYTES:
        # It is stored in several resolutions. A picture that has only one cannot be read then.
        reduction = int(math.log2(max(picture.size) / WORKING_SIDE))
        picture.reduce = reduction  # type: ignore[method-assign,assignment] # a property of this format
        bytes_per_pixel = _USUAL_BYTES_PER_PIXEL
    max_pixels = min(MAX_PIXELS, _MAX_BYTES // bytes_per_pixel)
    if pixels > max_pixels:
        kind = f" for {picture.format}" if max_pixels < MAX_PIXELS else ""
        raise PictureError(
            f"{name}: {picture.width:,}×{picture.height:,} pixels; "
            f"the maximum{kind} is {max_pixels // 1_000_000} megapixels"
        )
    return pixels * bytes_per_pixel


def _reduced(picture: Image.Image) -> Image.Image:
    """Reduce the longer side to 1,024 pixels, in bands, so that conversions take little memory."""
    picture.load()  # turns a TIFF upright
    longer, shorter = max(picture.size), min(picture.size)
    if longer <= WORKING_SIDE:
        return picture
    is_wide = picture.width == longer

    def rectangle(start: float, end: float, across: float) -> tuple[float, float, float, float]:
        return (start, 0, end, across) if is_wide else (0, start, across, end)

    scale = longer / WORKING_SIDE
    across = max(1, round(shorter / scale))
    bands = math.ceil(longer * shorter / _BAND_PIXELS)
    edges = [round(WORKING_SIDE * number / bands) for number in range(bands + 1)]
    parts = []
    for start, end in pairwise(edges):
        first, last = math.floor(start * scale), math.ceil(end * scale)
        left, top, right, bottom = (int(side) for side in rectangle(first, last, shorter))
        band = _averageable(picture.crop((left, top, right, bottom)))
        size = (end - start, across) if is_wide else (across, end - start)
        box = rectangle(start * scale - first, end * scale - first, shorter)
        parts.append(band.resize(size, Image.Resampling.BOX, box))
    reduced = Image.new(parts[0].mode, (WORKING_SIDE, across) if is_wide else (across, WORKING_SIDE))
    for start, part in zip(edges, parts, strict=False):
        reduced.paste(part, (start, 0) if is_wide else (0, start))
    reduced.info = picture.info
    return reduced


def _averageable(picture: Image.Image) -> Image.Image:
    """Convert single bits and indices of a palette, which cannot be averaged."""
    if picture.mode == "1":
        return picture.convert("L")
    if picture.mode in ("P", "PA"):
        return picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    return picture


def _colours(picture: Image.Image) -> Colours:
    if picture.mode.startswith("F"):  # only TIFF; the usual ranges are 0 to 1, 255 and 65,535
        largest = np.nanmax(np.asarray(picture), initial=0)
        return _scaled(picture, white=next((w for w in (1, 255) if largest <= w), 65_535))
    if picture.mode.startswith("I"):  # 16 bits per pixel, which Pillow's conversion clips
        return _scaled(picture, white=65_535)
    if picture.mode == "LAB":  # Pillow does not convert it
        picture = picture.getchannel("L")
    if not picture.has_transparency_data:
        return _scaled(picture.convert("L" if picture.mode in ("1", "L") else "RGB"))
    layers = _scaled(picture.convert("RGBA"))
    colours, opacity = layers[..., :3], layers[..., 3:]
    mean_drawn = float((colours * opacity).mean() / max(opacity.mean(), 1e-6))
    paper = np.float32(1.0 if mean_drawn < 0.5 else 0.0)
    return colours * opacity + paper * (1 - opacity)


def _scaled(picture: Image.Image, *, white: int = 255) -> Colours:
    levels: Colours = np.asarray(picture, dtype=np.float32) / np.float32(white)
    if picture.mode.startswith("F"):
        levels = np.nan_to_num(levels)
    return levels.clip(0, 1).reshape(*levels.shape[:2], -1)
