"""Damaged, malicious and odd pictures: each gives an image or a one-line error, in a short time."""

import io
import resource
import struct
import sys
import time
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from mnistctl import datasets, images
from mnistctl.errors import PictureError
from mnistctl.images import decode

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "JPEG2000", "AVIF")
MUTATIONS = 1_000  # pictures per format


def digit_picture(side: int = 56) -> Image.Image:
    digit = datasets.load("digits", "test").images[0]
    return Image.fromarray(255 - digit).resize((side, side), Image.Resampling.BICUBIC)


def saved(kind: str, picture: Image.Image | None = None, **options: object) -> bytes:
    content = io.BytesIO()
    (picture or digit_picture()).save(content, kind, **options)
    return content.getvalue()


def png(*chunks: tuple[bytes, bytes], end: bool = True) -> bytes:
    """A PNG file of these chunks, with valid checksums."""
    content = b"\x89PNG\r\n\x1a\n"
    for name, body in (*chunks, (b"IEND", b"")) if end else chunks:
        content += struct.pack(">I", len(body)) + name + body
        content += struct.pack(">I", zlib.crc32(name + body))
    return content


def header(width: int, height: int, depth: int = 8, colour: int = 0, interlace: int = 0) -> bytes:
    return struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)


def pixels(*, rows: int, width: int) -> bytes:
    return zlib.compress(bytes((width + 1) * rows))


BAD_PICTURES: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "one byte": lambda: b"\x89",
    "text": lambda: b"seven",
    "zeros": lambda: bytes(5_000),
    "a web page": lambda: b"<!doctype html><title>404</title>",
    "an SVG": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "JSON": lambda: b'{"digit": 7}',
    "a pickle": lambda: b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00K\x07.",
    "a ZIP": lambda: b"PK\x03\x04" + bytes(60),
    "a PDF": lambda: b"%PDF-1.7\n%%EOF",
    "PostScript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nquit\n",
    "a TIFF": lambda: saved("TIFF"),
    "an ICO": lambda: saved("ICO"),
    "a TGA": lambda: saved("TGA"),
    "a PPM": lambda: saved("PPM"),
    "only PNG's signature": lambda: b"\x89PNG\r\n\x1a\n",
    "only JPEG's marker": lambda: b"\xff\xd8\xff",
    "only GIF's header": lambda: b"GIF89a\x10\x00\x10\x00\x00\x00\x00",
    "only BMP's signature": lambda: b"BM",
    "only WebP's header": lambda: b"RIFF\x10\x00\x00\x00WEBP",
    "no pixel data": lambda: png((b"IHDR", header(9, 9))),
    "no width": lambda: png((b"IHDR", header(0, 9)), (b"IDAT", b"")),
    "no height": lambda: png((b"IHDR", header(9, 0)), (b"IDAT", b"")),
    "vast": lambda: png((b"IHDR", header(2**31 - 1, 2**31 - 1)), (b"IDAT", b"x")),
    "a billion pixels": lambda: png((b"IHDR", header(40_000, 40_000)), (b"IDAT", b"x")),
    "just over 64 megapixels": lambda: png((b"IHDR", header(8_001, 8_000)), (b"IDAT", b"x")),
    "wide and empty": lambda: png((b"IHDR", header(60_000_000, 1)), (b"IDAT", b"x")),
    "an invalid bit depth": lambda: png((b"IHDR", header(9, 9, depth=7)), (b"IDAT", b"x")),
    "an invalid colour type": lambda: png((b"IHDR", header(9, 9, colour=5)), (b"IDAT", b"x")),
    "a missing palette": lambda: png(
        (b"IHDR", header(9, 9, colour=3)), (b"IDAT", pixels(rows=9, width=9))
    ),
    "pixels that are not deflated": lambda: png((b"IHDR", header(9, 9)), (b"IDAT", b"\x00\x01\x02")),
    "too few pixels": lambda: png((b"IHDR", header(90, 90)), (b"IDAT", pixels(rows=2, width=90))),
    "too many pixels": lambda: png((b"IHDR", header(9, 9)), (b"IDAT", pixels(rows=10**6, width=9))),
    "a chunk longer than the file": lambda: b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR",
    "two headers": lambda: png((b"IHDR", header(9, 9)), (b"IHDR", header(99, 99))),
    "pixels before the header": lambda: png((b"IDAT", b"x"), (b"IHDR", header(9, 9))),
    "no end chunk": lambda: png((b"IHDR", header(9, 9)), (b"IDAT", pixels(rows=9, width=9)), end=False),
    "an invalid filter": lambda: png((b"IHDR", header(9, 9)), (b"IDAT", zlib.compress(b"\x09" * 90))),
    "text that unpacks to fifty megabytes": lambda: png(
        (b"IHDR", header(9, 9)),
        (b"zTXt", b"note\0\0" + zlib.compress(bytes(50_000_000))),
        (b"IDAT", pixels(rows=9, width=9)),
    ),
    "a random colour profile": lambda: saved("PNG", icc_profile=b"rubbish" * 99),
    "random EXIF": lambda: saved("JPEG", exif=b"Exif\0\0" + b"\xff" * 99),
    "truncated EXIF": lambda: saved("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff"),
    "EXIF orientation 99": lambda: turned(99),
    "EXIF orientation 65,535": lambda: turned(65_535),
    "a wrong checksum": lambda: saved("PNG")[:-20] + b"\0" + saved("PNG")[-19:],
    "half a PNG": lambda: saved("PNG")[: len(saved("PNG")) // 2],
    "half a JPEG": lambda: saved("JPEG")[: len(saved("JPEG")) // 2],
    "half a GIF": lambda: saved("GIF")[: len(saved("GIF")) // 2],
    "half a WebP": lambda: saved("WEBP")[: len(saved("WEBP")) // 2],
    "half a BMP": lambda: saved("BMP")[: len(saved("BMP")) // 2],
    "a JPEG with trailing bytes": lambda: saved("JPEG") + b"rubbish" * 999,
    "a PNG after a JPEG marker": lambda: b"\xff\xd8" + saved("PNG"),
    "an animated GIF": lambda: saved(
        "GIF", save_all=True, append_images=[digit_picture(), digit_picture()]
    ),
    "a GIF without a palette": lambda: b"GIF89a\x02\0\x02\0\0\0\0,\0\0\0\0\x02\0\x02\0\0\x02\0;",
    "a BMP with a negative size": lambda: bmp(-56, 56),
    "a BMP without width": lambda: bmp(0, 56),
    "a vast BMP": lambda: bmp(2**30, 2**30),
    "one white pixel": lambda: saved("PNG", Image.new("L", (1, 1), 255)),
    "one line of pixels": lambda: saved("PNG", Image.new("L", (3_000, 1), 255)),
    "all black": lambda: saved("PNG", Image.new("RGB", (300, 200))),
    "all transparent": lambda: saved("PNG", Image.new("RGBA", (50, 50), (9, 9, 9, 0))),
    "noise": lambda: saved("PNG", noisy(200)),
    "large noise": lambda: saved("PNG", noisy(1_000)),
    "a thousand squares": lambda: saved("PNG", board(5).resize((1_000, 1_000))),
    "a checkerboard": lambda: saved("PNG", board(1)),
    "a fine grid": lambda: saved("PNG", board(5)),
    "two nearly equal greys": lambda: saved(
        "PNG", Image.fromarray(np.indices((90, 90))[0].astype("u1") % 2)
    ),
    "one dot": lambda: saved("PNG", dot()),
    "NaN pixels": lambda: saved("TIFF", Image.fromarray(np.full((9, 9), np.nan, "f4"))),
}


def turned(tag: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = tag
    return saved("JPEG", exif=exif)


def bmp(width: int, height: int) -> bytes:
    content = bytearray(saved("BMP"))
    content[18:26] = struct.pack("<ii", width, height)
    return bytes(content)


def noisy(side: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8))


def board(step: int) -> Image.Image:
    rows, columns = np.indices((150, 150))
    return Image.fromarray((((rows // step + columns // step) % 2) * 255).astype(np.uint8))


def dot() -> Image.Image:
    field = Image.new("L", (500, 500), 255)
    field.putpixel((250, 250), 0)
    return field


def check_read_or_rejected(content: bytes) -> bool:
    """Whether a picture can be read. Otherwise its error is one line."""
    try:
        image = images.read(content, name="picture")
        picture = decode.read(content, name="picture")
        images.find_digit(picture, images.find_ink(picture, name="picture"))
    except PictureError as error:
        message = str(error)
    else:
        return image.shape == (28, 28)
    assert message.startswith("picture: ")
    assert "\n" not in message
    return False


@pytest.mark.filterwarnings("ignore")  # Pillow warns of odd files
@pytest.mark.parametrize("name", BAD_PICTURES)
def test_a_bad_picture_is_read_or_rejected_in_one_line_within_30_seconds(name: str) -> None:
    before = time.monotonic()

    check_read_or_rejected(BAD_PICTURES[name]())

    assert time.monotonic() - before < 30


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS)
def test_mutated_pictures_are_read_or_rejected_and_leak_no_memory(kind: str) -> None:
    random = np.random.default_rng(FORMATS.index(kind))
    whole = np.frombuffer(saved(kind), dtype=np.uint8)
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    accepted = 0

    for number in range(MUTATIONS):
        content = whole.copy()
        places = random.integers(len(content), size=random.integers(1, 9))
        content[places] = random.integers(256, size=len(places))
        if number % 4 == 0:
            content = content[: random.integers(1, len(content))]
        if number % 7 == 0:
            content = np.insert(content, places[0] % len(content), content[: random.integers(1, 40)])
        accepted += check_read_or_rejected(content.tobytes())

    assert 0 < accepted < MUTATIONS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before < 600_000_000


def test_a_file_truncated_at_any_byte_is_read_or_rejected() -> None:
    for kind in ("PNG", "GIF"):
        whole = saved(kind, digit_picture(20))
        for length in range(len(whole)):
            check_read_or_rejected(whole[:length])
