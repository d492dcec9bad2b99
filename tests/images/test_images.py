"""Pictures become 28×28 images."""

import io
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mnistctl import datasets, images
from mnistctl.errors import PictureError
from mnistctl.images import center, decode

Digit = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def digit() -> Digit:
    """A 4 of the bundled digits, uint8 (28, 28)."""
    split = datasets.load("digits", "test")
    image: Digit = split.images[np.flatnonzero(split.labels == 4)[0]]
    return image


def as_png(picture: Image.Image, **options: object) -> bytes:
    content = io.BytesIO()
    picture.save(content, "PNG", **options)
    return content.getvalue()


def difference(content: bytes, digit: Digit) -> float:
    """Mean absolute difference, of 255, between the image of a picture and the drawn digit."""
    return float(np.abs(images.read(content, name="picture").astype(int) - digit).mean())


def large(digit: Digit) -> Image.Image:
    """The digit ten times as large, in the middle of a larger black picture."""
    field = Image.new("L", (600, 500))
    field.paste(Image.fromarray(digit).resize((280, 280), Image.Resampling.BICUBIC), (170, 90))
    return field


def test_a_picture_of_an_image_gives_that_image(digit: Digit) -> None:
    assert difference(as_png(Image.fromarray(digit)), digit) < 1


def test_dark_ink_on_light_paper_gives_the_same_image_as_light_on_dark(digit: Digit) -> None:
    assert difference(as_png(Image.fromarray(255 - digit)), digit) < 1


def test_a_small_digit_in_a_large_picture_is_cropped_scaled_and_centred(digit: Digit) -> None:
    picture = Image.new("L", (900, 700), 255)
    picture.paste(Image.fromarray(255 - np.asarray(large(digit).crop((170, 90, 450, 370)))), (30, 380))

    assert difference(as_png(picture), digit) < 6  # two resamplings


def test_transparent_areas_are_paper_behind_dark_and_behind_light_ink(digit: Digit) -> None:
    alpha = large(digit)
    for colour in ("black", "white", "navy"):
        drawn = Image.new("RGBA", alpha.size, colour)
        drawn.putalpha(alpha)

        assert difference(as_png(drawn), digit) < 6


def test_a_picture_with_16_bits_per_pixel_is_not_clipped(digit: Digit) -> None:
    deep = Image.fromarray((255 - digit).astype(np.uint16) * 257)

    assert difference(as_png(deep), digit) < 1


@pytest.mark.parametrize("mode", ["RGB", "P", "LA", "1", "RGBA"])
def test_a_picture_of_every_colour_mode_is_read(mode: str, digit: Digit) -> None:
    drawn = Image.fromarray(255 - np.asarray(large(digit))).convert("RGB")
    picture = drawn.convert(mode, dither=Image.Dither.NONE, palette=Image.Palette.ADAPTIVE)

    assert difference(as_png(picture), digit) < (20 if mode == "1" else 8)  # "1" has no greys


@pytest.mark.parametrize(
    "format_name", ["JPEG", "WEBP", "BMP", "GIF", "TIFF", "JPEG2000", "AVIF", "HEIF", "PDF"]
)
def test_a_picture_of_every_format_is_read(format_name: str, digit: Digit) -> None:
    if format_name == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    if format_name == "PDF":
        pytest.importorskip("pypdfium2")
    content = io.BytesIO()
    Image.fromarray(255 - np.asarray(large(digit))).convert("RGB").save(content, format_name)

    assert difference(content.getvalue(), digit) < 8


def float_tiff(digit: Digit) -> Image.Image:
    return Image.fromarray((255 - digit).astype(np.float32) / 255)


def cmyk_tiff(digit: Digit) -> Image.Image:
    return Image.fromarray(255 - digit).convert("CMYK")


def black_and_white_tiff(digit: Digit) -> Image.Image:
    return large(digit).convert("1", dither=Image.Dither.NONE)


@pytest.mark.parametrize("make", [float_tiff, cmyk_tiff, black_and_white_tiff])
def test_a_tiff_of_every_kind_is_read(make: Callable[[Digit], Image.Image], digit: Digit) -> None:
    content = io.BytesIO()
    make(digit).save(content, "TIFF")

    assert difference(content.getvalue(), digit) < (20 if make is black_and_white_tiff else 1)


@pytest.mark.parametrize("format_name", ["TIFF", "PDF"])
def test_each_page_is_a_picture(format_name: str, digit: Digit) -> None:
    if format_name == "PDF":
        pytest.importorskip("pypdfium2")
    pages = [large(np.rot90(digit, turns)) for turns in range(3)]
    content = io.BytesIO()
    pages[0].save(content, format_name, save_all=True, append_images=pages[1:])

    numbers = decode.list_pages(content.getvalue(), name="scan")

    assert numbers == [1, 2, 3]
    for number in numbers:
        picture = decode.read(content.getvalue(), name="scan", page=number)
        image = center.fit(images.find_ink(picture, name="scan"))
        differences = [difference(as_png(page), image) for page in pages]
        assert np.argmin(differences) + 1 == number


def test_a_file_of_one_picture_has_no_pages(digit: Digit) -> None:
    for format_name in ("PNG", "TIFF", "GIF"):
        content = io.BytesIO()
        Image.fromarray(digit).save(content, format_name)

        assert decode.list_pages(content.getvalue(), name="scan") == [None]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "I;16", "F"])
@pytest.mark.parametrize("size", [(4_000, 1_500), (1_100, 3_000), (9_000, 7)])
def test_a_large_picture_is_reduced_to_the_mean_of_its_pixels(mode: str, size: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    noise = Image.fromarray(random.integers(0, 256, (90, 120), dtype=np.uint8)).resize(size)
    picture = Image.fromarray(np.asarray(noise, "u2") * 257) if mode == "I;16" else noise.convert(mode)
    content = io.BytesIO()
    picture.save(content, "TIFF" if mode == "F" else "PNG")

    reduced = decode.read(content.getvalue(), name="picture").colours.mean(axis=-1)

    whole = noise.convert("1").convert("L") if mode == "1" else noise
    expected = np.asarray(whole.resize(reduced.shape[::-1], Image.Resampling.BOX)) / 255
    assert reduced.shape == pytest.approx(
        (size[1] * 1_024 / max(size), size[0] * 1_024 / max(size)), abs=1
    )
    assert np.abs(reduced - expected).max() < (0.05 if mode == "P" else 0.02)


def test_a_picture_is_turned_as_its_exif_orientation_says(digit: Digit) -> None:
    turned = Image.fromarray(255 - np.rot90(digit))
    exif = Image.Exif()
    exif[0x0112] = 6  # upright after a turn clockwise

    assert difference(as_png(turned, exif=exif), digit) < 1


def test_a_picture_of_many_megapixels_is_reduced_first(digit: Digit) -> None:
    picture = Image.fromarray(255 - digit).resize((4_000, 3_000), Image.Resampling.NEAREST)

    assert images.read(as_png(picture), name="picture").shape == (28, 28)


def png_header(width: int, height: int) -> bytes:
    """A PNG file that claims a size and has almost no data."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + body + struct.pack(">I", 4) + b"IDAT" + b"\0" * 8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"hello", "not a picture; supported formats: PNG"),
        (b"<html></html>", "not a picture"),
        (as_png(Image.new("L", (60, 60), 255))[:60], "the picture is damaged"),
        (as_png(Image.new("L", (60, 60), 255)), "blank"),
        (as_png(Image.new("L", (60, 60), 0)), "blank"),
        (as_png(Image.new("RGBA", (60, 60), (0, 0, 0, 0))), "blank"),
        (png_header(10_000, 10_000), "10,000×10,000 pixels; the maximum is 64 megapixels"),
        (png_header(2**31 - 1, 2**31 - 1), "pixels|damaged"),
        (png_header(0, 10), "damaged|not a picture"),
    ],
)
def test_a_picture_that_cannot_be_read_gives_an_error_with_its_name(
    content: bytes, message: str
) -> None:
    with pytest.raises(PictureError, match=f"^picture: .*({message})"):
        images.read(content, name="picture")


def test_a_missing_file_and_a_folder_give_an_error_with_their_path(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"nothing\.png: No such file"):
        images.read(tmp_path / "nothing.png", name="nothing.png")
    with pytest.raises(PictureError, match=f"^{re.escape(str(tmp_path))}: "):
        images.read(tmp_path, name="picture")


@pytest.mark.mnist
def test_fitting_does_not_change_mnist_images() -> None:
    digits = datasets.load("mnist", "test").images[:500]

    fitted = np.stack([center.fit(digit.astype(np.float32) / 255) for digit in digits])

    unchanged = (fitted == digits).all(axis=(1, 2))
    assert unchanged.mean() > 0.9  # the others have edges so faint that they are cropped


def test_ink_that_is_only_along_the_border_is_kept() -> None:
    ink = np.zeros((34, 9), dtype=np.float32)
    ink[:6, 0] = 0.6
    ink[-5:, 8] = 0.1

    assert center.fit(ink).any()


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 3), (28, 28), (5, 7)])
def test_ink_of_any_shape_fits_into_the_image(shape: tuple[int, int]) -> None:
    ink = np.ones(shape, dtype=np.float32)

    field = center.fit(ink)

    assert field.shape == (28, 28)
    assert max(np.ptp(np.flatnonzero(field.any(axis=axis))) + 1 for axis in (0, 1)) == 20


def test_the_box_of_a_digit_is_in_the_pixels_of_the_file(digit: Digit) -> None:
    small, scale = large(digit), 3
    picture = small.resize((scale * small.width, scale * small.height), Image.Resampling.NEAREST)

    boxes = []
    for field in (small, picture):
        decoded = decode.read(as_png(field), name="picture")
        boxes.append(images.find_digit(decoded, images.find_ink(decoded, name="picture")).box)

    assert decoded.scale > 1  # it is read at a smaller size
    assert np.abs(np.array(boxes[1]) - scale * np.array(boxes[0])).max() <= 3 * scale
