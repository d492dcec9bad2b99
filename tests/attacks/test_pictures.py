"""Hostile and odd pictures: each costs little memory and time, and only itself."""

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.attacks.attack import Outcome, attack

SIDE = 1_024  # pixels: pictures of this size are not reduced
READING_MB = 700  # of the largest pictures: 450 MB for decoding, and the program itself

Pixels = npt.NDArray[np.uint8]


def read(*arguments: str | Path, folder: Path, **options: Any) -> Outcome:
    return attack("predict", *arguments, "--model", "bundled", "-q", folder=folder, **options)


# Patterns of ink, uint8 (1024, 1024), dark on light.


def grid(step: int, size: int) -> Pixels:
    """Squares of `size` pixels, `step` pixels apart."""
    is_ink = np.arange(SIDE) % step < size
    return np.where(np.outer(is_ink, is_ink), 0, 255).astype(np.uint8)


def comb(step: int, width: int, *, back: int) -> Pixels:
    """Upright teeth, joined by a back of some rows."""
    pixels = np.full((SIDE, SIDE), 255, np.uint8)
    pixels[20:-20, 20:-20] = np.where(np.arange(SIDE - 40) % step < width, 0, 255)
    pixels[20 : 20 + back, 20:-20] = 0
    return pixels


def slanted(step: int, width: int) -> Pixels:
    rows, columns = np.indices((SIDE - 40, SIDE - 40))
    lines = np.where((rows + columns) % step < width, 0, 255).astype(np.uint8)
    return np.pad(lines, 20, constant_values=255)


def rings(step: int, width: int) -> Pixels:
    distance = np.abs(np.arange(SIDE) - SIDE // 2)
    pixels = np.where(np.maximum.outer(distance, distance) % step < width, 0, 255).astype(np.uint8)
    return np.pad(pixels[20:-20, 20:-20], 20, constant_values=255)


def noise(share: float) -> Pixels:
    random = np.random.default_rng(0).random((SIDE, SIDE))
    return np.where(random < share, 0, 255).astype(np.uint8)


def block_and_bars() -> Pixels:
    """A large block of noise below many flat bars, which make the median height small."""
    pixels = noise(0.5)
    pixels[:60] = 255
    pixels[2:52:5, 20:-20] = np.where(np.arange(SIDE - 40) % 50 < 45, 0, 255)
    return pixels


PATTERNS: dict[str, Callable[[], Pixels]] = {
    **{
        f"dots of {size} every {step} pixels": partial(grid, step, size)
        for step, size in ((2, 1), (3, 1), (5, 2), (6, 1), (6, 3), (8, 2), (10, 3), (16, 5), (40, 20))
    },
    "a comb of sixty teeth": lambda: comb(16, 11, back=0),
    "a comb of two hundred teeth": lambda: comb(5, 1, back=0),
    "a joined comb of five hundred teeth": lambda: comb(2, 1, back=4),
    "a joined comb on its side": lambda: np.ascontiguousarray(comb(4, 2, back=4).T),
    "many flat rows": lambda: np.ascontiguousarray(comb(6, 2, back=0).T),
    "slanted lines": lambda: slanted(10, 5),
    "nested rings": lambda: rings(10, 5),
    "a checkerboard of pixels": lambda: grid(2, 1) & ~np.roll(grid(2, 1), (1, 1), (0, 1)) | grid(2, 1),
    "a checkerboard of blocks": lambda: np.kron(
        np.indices((32, 32)).sum(0) % 2, np.full((32, 32), 255)
    ).astype(np.uint8),
    "sparse noise": lambda: noise(0.01),
    "dense noise": lambda: noise(0.5),
    "a block of noise and flat bars": block_and_bars,
}


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_is_read_as_numbers_in_little_memory(name: str, tmp_path: Path) -> None:
    Image.fromarray(PATTERNS[name]()).save("pattern.png")

    outcome = read("pattern.png", "--numbers", "--jsonl", folder=tmp_path)

    outcome.check_succeeded()
    assert outcome.peak_mb < READING_MB
    assert json.loads(outcome.out)["file"] == "pattern.png"


PAPER_AND_INK: dict[str, tuple[Any, Any]] = {
    "1": (1, 0),
    "P": (255, 0),
    "L": (255, 0),
    "I;16": (65_535, 0),
    "CMYK": ((0, 0, 0, 0), (0, 0, 0, 255)),
}


def save_large(name: str, mode: str, side: int, **options: Any) -> None:
    """A square picture with an upright black bar on white."""
    paper, ink = PAPER_AND_INK.get(mode, ("white", "black"))
    picture = Image.new(mode, (side, side), paper)
    if mode == "P":
        picture.putpalette([level for level in range(256) for _ in range(3)])
    picture.paste(ink, (side // 2, 500, side // 2 + 400, side - 500))
    picture.save(name, **options)


LARGE: dict[str, Callable[[str], None]] = {
    "grey.png": lambda name: save_large(name, "L", 8_000, compress_level=1),
    "transparent.png": lambda name: save_large(name, "RGBA", 8_000, compress_level=1),
    "palette.png": lambda name: save_large(name, "P", 8_000, compress_level=1, transparency=7),
    "deep.png": lambda name: save_large(name, "I;16", 8_000, compress_level=1),
    "bits.tif": lambda name: save_large(name, "1", 8_000, compression="group4"),
    "cmyk.jpg": lambda name: save_large(name, "CMYK", 8_000, quality=30),
    "photo.webp": lambda name: save_large(name, "RGB", 5_200, quality=30, method=0),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_picture_of_up_to_64_megapixels_is_annotated_at_the_size_that_was_read(
    name: str, tmp_path: Path
) -> None:
    LARGE[name](name)

    outcome = read(name, "--annotate", "boxes.png", "--json", folder=tmp_path)

    outcome.check_succeeded()
    assert outcome.peak_mb < READING_MB
    with Image.open("boxes.png") as boxes:
        assert max(boxes.size) < 1_400  # with space for a large label
    (result,) = json.loads(outcome.out)
    assert result["box"][3] > 4_000  # in the pixels of the file


def test_a_picture_of_64_megapixels_is_explained_at_the_size_that_was_read(tmp_path: Path) -> None:
    LARGE["grey.png"]("grey.png")

    read("grey.png", "--explain", "why.png", folder=tmp_path).check_succeeded()

    with Image.open("why.png") as plot:
        assert max(plot.size) < 4_000


def test_large_pictures_in_a_folder_are_decoded_one_at_a_time(tmp_path: Path) -> None:
    save_large("0.webp", "RGB", 5_200, quality=30, method=0)
    for number in range(1, 4):
        shutil.copy("0.webp", f"{number}.webp")

    outcome = read(".", "--jsonl", folder=tmp_path, cpu_s=30)

    outcome.check_succeeded()
    assert outcome.peak_mb < READING_MB
    assert len(outcome.out.splitlines()) == 4


def png(width: int, height: int, data: bytes = b"x", colour: int = 0) -> bytes:
    """A PNG file that claims a size."""
    content = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    for kind, body in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b"")):
        content += (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )
    return content


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1), (1, 1), (2, 1_025), (30_000_000, 1)])
def test_a_picture_of_an_extreme_shape_is_read_as_numbers_and_annotated(
    size: tuple[int, int], tmp_path: Path
) -> None:
    width, height = size
    row = b"\0" + bytes(width // 2) + b"\xff" * (width - width // 2)
    paper = b"\0" + b"\xff" * width
    rows = row * (height - height // 2) + paper * (height // 2)
    Path("odd.png").write_bytes(png(width, height, zlib.compress(rows)))

    outcome = read("odd.png", "--numbers", "--annotate", "boxes.png", folder=tmp_path)

    outcome.check_succeeded()
    assert outcome.peak_mb < READING_MB


def test_a_picture_of_one_column_is_explained(tmp_path: Path) -> None:
    Image.fromarray(np.eye(60_000, 1, -30_000, dtype=np.uint8) * 255).save("odd.png")

    read("odd.png", "--explain", "why.png", folder=tmp_path).check_succeeded()


def tiff(*, next_ifd: int = 0, pages: int = 1, tags: dict[int, int] | None = None) -> bytes:
    """A TIFF file of pages of 9×9 grey pixels, with some tags changed."""
    pixels = bytes(range(81))
    values = {256: 9, 257: 9, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 9, 279: 81} | (tags or {})
    content = b"II*\0" + struct.pack("<I", 8 + 82) + pixels + b"\0"
    for page in range(pages):
        start = len(content)
        content += struct.pack("<H", len(values))
        for tag, value in sorted(values.items()):
            content += struct.pack("<HHII", tag, 4, 1, value)
        following = start + 2 + 12 * len(values) + 4
        content += struct.pack("<I", following if page < pages - 1 else next_ifd)
    return content


def pdf(*, pages: int = 1, box: str = "0 0 100 100", content: bytes = b"20 20 9 60 re f") -> bytes:
    """A PDF file whose pages share a content stream, and whose cross-references must be repaired."""
    stream = zlib.compress(content)
    kids = " ".join(["3 0 R"] * pages)
    return b"\n".join(
        [
            b"%PDF-1.4",
            b"1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj",
            f"2 0 obj <</Type/Pages/Count {pages}/Kids[{kids}]>> endobj".encode(),
            f"3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[{box}]/Contents 4 0 R>> endobj".encode(),
            f"4 0 obj <</Length {len(stream)}/Filter/FlateDecode>> stream".encode(),
            stream + b"\nendstream endobj",
            b"trailer <</Root 1 0 R/Size 5>>\n%%EOF",
        ]
    )


def saved(name: str, side: int, **options: Any) -> bytes:
    Image.new("L", (side, side), 255).save(name, **options)
    return Path(name).read_bytes()


REJECTED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.png": (lambda: b"", "the file is empty"),
    "vast.png": (lambda: png(40_000, 40_000), "picture"),
    "over.png": (lambda: png(8_001, 8_000), "8,001×8,000 pixels; the maximum is 64 megapixels"),
    "long.png": (lambda: png(65_000_000, 1), "the maximum is 64 megapixels"),
    "over.webp": (lambda: saved("over.webp", 6_000), "the maximum for WEBP is 28 megapixels"),
    "half.webp": (lambda: saved("half.webp", 90)[:40], "half.webp: "),
    "half.avif": (lambda: saved("half.avif", 90)[:200], "half.avif: "),
    "half.jp2": (lambda: saved("half.jp2", 90)[:90], "half.jp2: "),
    "flat.jp2": (lambda: saved("flat.jp2", 5_000, num_resolutions=1), "the picture is damaged"),
    "brand.heic": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "brand.heic: "),
    "pages.tif": (lambda: tiff(pages=2_000), "more than 1,000 pages; split the file"),
    "samples.tif": (lambda: tiff(tags={277: 60_000}), "samples.tif: "),
    "size.tif": (lambda: tiff(tags={256: 2**31 - 1, 257: 2**31 - 1}), "size.tif: "),
    "pages.pdf": (lambda: pdf(pages=10_000), "more than 1,000 pages; split the file"),
    "stub.pdf": (lambda: b"%PDF-1.7\n%%EOF", "the PDF cannot be rendered"),
    "random.pdf": (lambda: b"%PDF-1.4\n" + noise(0.5).tobytes()[:99_999], "the PDF cannot be rendered"),
    "none.pdf": (lambda: pdf(pages=0), "none.pdf: "),
}  # fmt: skip


@pytest.mark.parametrize("name", REJECTED)
def test_a_picture_is_rejected_in_one_line(name: str, tmp_path: Path) -> None:
    make, message = REJECTED[name]
    Path(name).write_bytes(make())

    read(name, folder=tmp_path).check_failed(6, message)


ACCEPTED: dict[str, Callable[[], bytes]] = {
    "loop.tif": lambda: tiff(next_ifd=90),
    "tile.tif": lambda: tiff(tags={322: 65_520, 323: 65_520, 324: 8, 325: 81}),
    "strips.tif": lambda: tiff(tags={257: 7_000_000}),
    "nan.tif": lambda: tiff(tags={258: 32, 256: 4, 257: 4, 339: 3}),
    "wide.pdf": lambda: pdf(box="0 0 100000000 1"),
    "vast.pdf": lambda: pdf(box="0 0 1e9 1e9"),
    "zero.pdf": lambda: pdf(box="0 0 0 0"),
    "paths.pdf": lambda: pdf(content=b"20 20 9 60 re f\n" * 50_000),
    "nested.pdf": lambda: pdf(content=b"q " * 200_000 + b"20 20 9 60 re f"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_odd_picture_is_read(name: str, tmp_path: Path) -> None:
    Path(name).write_bytes(ACCEPTED[name]())

    read(name, folder=tmp_path).check_succeeded()


def test_a_page_of_a_pdf_that_takes_too_much_memory_costs_only_itself(
    picture: Path, tmp_path: Path
) -> None:
    side = 30_000  # pixels; 2.7 GB of colours
    image = zlib.compress(bytes(50_000_000))
    content = pdf(content=b"100 0 0 100 0 0 cm /I Do").replace(
        b"trailer",
        f"9 0 obj <</Type/XObject/Subtype/Image/Width {side}/Height {side}/BitsPerComponent 8"
        f"/ColorSpace/DeviceRGB/Filter/FlateDecode/Length {len(image)}>> stream\n".encode()
        + image
        + b"\nendstream endobj\ntrailer",
    )
    content = content.replace(b"/Contents", b"/Resources<</XObject<</I 9 0 R>>>>/Contents")
    content = content.replace(
        zlib.compress(b"20 20 9 60 re f"), zlib.compress(b"100 0 0 100 0 0 cm /I Do")
    )
    Path("bomb.pdf").write_bytes(content)

    outcome = read("bomb.pdf", picture, "--jsonl", folder=tmp_path)

    outcome.check_survived()
    assert outcome.code in (0, 6)
    assert json.loads(outcome.out.splitlines()[-1])["label"] == "3"


def test_one_hostile_picture_in_a_batch_costs_only_itself(picture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(4):
        shutil.copy(picture, folder / f"good-{number}.png")
    Image.fromarray(grid(6, 1)).save(folder / "dots.png")
    (folder / "vast.png").write_bytes(png(40_000, 40_000))
    (folder / "pages.tif").write_bytes(tiff(pages=2_000))
    os.mkfifo(folder / "pipe.png")
    (folder / "loop.png").symlink_to("loop.png")

    outcome = read("scans", "--jsonl", folder=tmp_path)

    outcome.check_survived()
    results = {result["file"]: result for result in map(json.loads, outcome.out.splitlines())}
    assert [results[f"scans/good-{number}.png"]["label"] for number in range(4)] == ["3"] * 4
    bad = ("vast.png", "pages.tif", "pipe.png", "loop.png")
    assert {name for name, result in results.items() if "error" in result} == {
        f"scans/{name}" for name in bad
    }
    assert outcome.code == 6
    assert "4 of 9 pictures could not be read" in outcome.err


def test_one_damaged_page_costs_only_itself(tmp_path: Path) -> None:
    pages = [Image.fromarray(255 - np.roll(grid(200, 60), 20 * page)) for page in range(3)]
    pages[0].save("scan.tif", save_all=True, append_images=pages[1:], compression="tiff_adobe_deflate")
    content = bytearray(Path("scan.tif").read_bytes())
    with Image.open("scan.tif") as opened:
        opened.seek(1)
        start = opened.tag_v2[273][0]  # type: ignore[attr-defined]
    content[start : start + 20] = b"\xff" * 20
    Path("scan.tif").write_bytes(content)

    outcome = read("scan.tif", "--jsonl", folder=tmp_path)

    outcome.check_survived()
    results = [json.loads(line) for line in outcome.out.splitlines()]
    assert ["error" in result for result in results] == [False, True, False]
    assert outcome.code == 6


# Special files.


def pipe(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)  # the path may be too long for a socket


def sparse(path: Path, start: bytes = b"") -> None:
    path.write_bytes(start)
    os.truncate(path, 10 * 2**30)


SPECIAL: dict[str, tuple[Callable[[Path], None], str]] = {
    "a pipe without a writer": (pipe, "a pipe or a device, not a regular file"),
    "a socket": (unix_socket, "not a regular file"),
    "ten gigabytes of zeros": (sparse, "10,737,418,240 bytes; at most"),
    "ten gigabytes after a header": (lambda path: sparse(path, png(99, 99)[:60]), "at most"),
    "ten gigabytes of WebP": (lambda path: sparse(path, b"RIFF\xff\xff\xff\x7fWEBPVP8 "), "at most"),
    "a link to a device": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "a link in a circle": (lambda path: path.symlink_to(path), "symbolic links"),
    "a broken link": (lambda path: path.symlink_to("gone.png"), "No such file"),
    "an empty folder": (lambda path: path.mkdir(), "no pictures in this folder"),
}


@pytest.mark.skipif(os.name != "posix", reason="special files of POSIX")
@pytest.mark.parametrize("kind", SPECIAL)
def test_a_special_file_is_rejected_in_one_line(kind: str, tmp_path: Path) -> None:
    make, message = SPECIAL[kind]
    make(tmp_path / "x.png")

    read("x.png", folder=tmp_path).check_failed(6, message)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no devices in the file system")
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom", "/dev/null", "/proc/kmsg"])
def test_a_device_is_no_picture(device: str, tmp_path: Path) -> None:
    if not Path(device).exists():
        pytest.skip("not on this system")

    read(device, folder=tmp_path).check_failed(6, f"{device}: ")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no devices in the file system")
def test_endless_standard_input_is_read_up_to_a_limit(tmp_path: Path) -> None:
    with Path("/dev/zero").open("rb") as zeros:
        read("-", folder=tmp_path, stdin=zeros).check_failed(6, "more than")


def test_a_link_in_a_circle_is_no_place_to_write(picture: Path, tmp_path: Path) -> None:
    Path("loop.png").symlink_to("loop.png")

    outcome = read(picture, "--annotate", "loop.png", folder=tmp_path)

    outcome.check_survived()
    assert outcome.code in (1, 2)


DEPTH = 1_200


@pytest.fixture
def deep(tmp_path: Path, picture: Path) -> Iterator[Path]:
    """A folder with a picture 1,200 folders below it, whose path is too long to be named at once."""
    top = tmp_path / "deep"
    code = (
        f"import os\nfor _ in range({DEPTH}):\n    os.mkdir('d')\n    os.chdir('d')\n"
        f"import shutil; shutil.copy({str(picture)!r}, 'x.png')"
    )
    top.mkdir()
    subprocess.run([sys.executable, "-c", code], cwd=top, check=True)
    yield top
    for number in range(DEPTH):  # pytest removes old temporary folders recursively, and would fail
        below = tmp_path / f"deep-{number}"
        (top / "d").rename(below)
        top.rmdir()
        top = below


@pytest.mark.parametrize(
    "arguments", [("deep", "-r"), ("deep/**/*.png",), ("**/x.png",), ("**",), ("deep",)]
)
def test_deep_folders_are_searched(arguments: tuple[str, ...], deep: Path, tmp_path: Path) -> None:
    outcome = read(*arguments, folder=tmp_path)

    outcome.check_survived()
    if arguments == ("deep",):
        outcome.check_failed(6, "no pictures in this folder; 1 in sub-folders: add --recursive")
    else:
        assert "/d/x.png" in outcome.out


@pytest.mark.parametrize("arguments", [("maze", "-r"), ("maze/**/*.png",)])
def test_links_in_circles_are_not_followed(
    arguments: tuple[str, ...], picture: Path, tmp_path: Path
) -> None:
    maze = tmp_path / "maze"
    maze.mkdir()
    shutil.copy(picture, maze / "x.png")
    for name in "abc":
        (maze / name).symlink_to(".", target_is_directory=True)

    outcome = read(*arguments, "--jsonl", folder=tmp_path)

    outcome.check_succeeded()
    assert len(outcome.out.splitlines()) == 1


# Datasets.


@pytest.fixture
def dataset(digits_test: tuple[Pixels, npt.NDArray[np.int64]]) -> Path:
    """Eight pictures of each of two classes, for training and for testing."""
    images, labels = digits_test
    folder = Path("mine")
    for split, rows in (("train", slice(0, 8)), ("test", slice(8, 16))):
        for label in (3, 7):
            (folder / split / str(label)).mkdir(parents=True)
            for number, row in enumerate(np.flatnonzero(labels == label)[rows]):
                Image.fromarray(255 - images[row]).save(folder / split / str(label) / f"{number}.png")
    return folder


def test_hostile_pictures_in_a_dataset_cost_only_themselves(dataset: Path, tmp_path: Path) -> None:
    folder = dataset / "train" / "3"
    Image.fromarray(grid(5, 2)).save(folder / "dots.png")
    (folder / "vast.png").write_bytes(png(40_000, 40_000))
    (folder / "half.jpg").write_bytes(b"\xff\xd8\xff")
    os.mkfifo(folder / "pipe.png")
    sparse(folder / "sparse.png")

    outcome = attack("data", "--dataset", dataset, "--json", folder=tmp_path)

    outcome.check_succeeded()
    counts = json.loads(outcome.out)["images"]
    assert counts["train"]["3"] + counts["validation"]["3"] == 9
    assert "pictures that could not be read and were skipped: 4; first: " in outcome.err


def test_a_dataset_without_a_picture_that_can_be_read_names_the_first_and_counts_all(
    dataset: Path, tmp_path: Path
) -> None:
    for path in dataset.glob("test/*/*"):
        path.write_bytes(b"\xff\xd8\xff")

    outcome = attack("data", "--dataset", dataset, folder=tmp_path)

    outcome.check_failed(3, "16 pictures could not be read, first: ")
