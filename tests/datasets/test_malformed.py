"""Malformed gzip and IDX files: typical ones, and a thousand random ones."""

import contextlib
import gzip
import struct
import tracemalloc
import zlib
from collections.abc import Iterator

import numpy as np
import pytest

from mnistctl.datasets import catalog, idx, verify
from mnistctl.errors import DataError

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, size=5 * 784, dtype=np.uint8).tobytes()
IMAGES = struct.pack(">HBB3I", 0, 8, 3, 5, 28, 28) + PIXELS
LABELS = struct.pack(">HBBI", 0, 8, 1, 5) + bytes(range(5))
ARCHIVE = gzip.compress(IMAGES, mtime=0)
FILE = catalog.RawFile("it", len(IMAGES))


def images(header: bytes, pixels: bytes = PIXELS) -> bytes:
    return header + pixels


def header(*sizes: int, magic: bytes = b"\0\0\x08") -> bytes:
    return magic + bytes([len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes)


MALFORMED_ARCHIVES: dict[str, bytes] = {
    "one byte of magic": ARCHIVE[:1],
    "magic alone": ARCHIVE[:2],
    "truncated in the gzip header": ARCHIVE[:9],
    "no body": ARCHIVE[:10],
    "truncated in the body": ARCHIVE[: len(ARCHIVE) // 2],
    "without CRC and size": ARCHIVE[:-8],
    "without size": ARCHIVE[:-4],
    "a bad CRC": ARCHIVE[:-8] + b"\0\0\0\0" + ARCHIVE[-4:],
    "a bad size": ARCHIVE[:-4] + struct.pack("<I", len(IMAGES) + 1),
    "two members": ARCHIVE + ARCHIVE,
    "a second, empty member": ARCHIVE + gzip.compress(b"", mtime=0),
    "a trailing byte": ARCHIVE + b"\0",
    "trailing text": ARCHIVE + b"and so on",
    "a method that is not deflate": ARCHIVE[:2] + b"\x07" + ARCHIVE[3:],
    "reserved flags": ARCHIVE[:3] + b"\xe0" + ARCHIVE[4:],
    "a file name without end": ARCHIVE[:3] + b"\x08" + b"\0" * 6 + b"x" * 500,
    "an empty member": gzip.compress(b"", mtime=0),
    "content of a thousand times the size": gzip.compress(bytes(1000 * len(IMAGES))),
    "a zlib stream": zlib.compress(IMAGES),
    "an archive in an archive": gzip.compress(ARCHIVE, mtime=0),
    "content one byte too short": gzip.compress(IMAGES[:-1]),
    "content one byte too long": gzip.compress(IMAGES + b"\0"),
    "a zip file": b"PK\x03\x04" + ARCHIVE[4:],
    "a web page": b"<!DOCTYPE html><html></html>",
    "a web page, packed": gzip.compress(b"<!DOCTYPE html><html></html>"),
}

MALFORMED_IMAGES: dict[str, bytes] = {
    "empty": b"",
    "one byte": b"\0",
    "magic alone": IMAGES[:4],
    "truncated in the sizes": IMAGES[:15],
    "no pixels": IMAGES[:16],
    "one pixel too few": IMAGES[:-1],
    "one pixel too many": IMAGES + b"\0",
    "a wrong magic": images(header(5, 28, 28, magic=b"\0\1\x08")),
    "little-endian sizes": images(b"\0\0\x08\3" + struct.pack("<3I", 5, 28, 28)),
    "signed bytes": images(header(5, 28, 28, magic=b"\0\0\x09")),
    "floats": images(header(5, 28, 28, magic=b"\0\0\x0d")),
    "an unknown type": images(header(5, 28, 28, magic=b"\0\0\x2a")),
    "no dimensions": images(header()),
    "one dimension": images(header(5 * 784)),
    "two dimensions": images(header(5, 784)),
    "four dimensions": images(header(5, 28, 28, 1)),
    "255 dimensions": b"\0\0\x08\xff" + PIXELS,
    "zero images, with pixels": images(header(0, 28, 28)),
    "zero rows": images(header(5, 0, 28)),
    "huge sizes": images(header(2**32 - 1, 2**32 - 1, 2**32 - 1)),
    "a huge number of images": images(header(2**32 - 1, 28, 28)),
    "rows of another length": images(header(5, 14, 56)),
    "text": b"5 28 28\n" + PIXELS,
    "a file of labels": LABELS,
}

MALFORMED_LABELS: dict[str, bytes] = {
    "too few": header(4) + bytes(range(4)),
    "too many": header(6) + bytes(range(6)),
    "label 10": header(5) + bytes([0, 1, 2, 3, 10]),
    "label 255": header(5) + bytes([0, 1, 2, 3, 255]),
    "a negative label": header(5, 1, magic=b"\0\0\x0c") + struct.pack(">5i", 0, 1, 2, 3, -1),
    "a file of images": IMAGES,
    "zero columns": header(5, 0),
}


def assert_one_line(error: pytest.ExceptionInfo[DataError]) -> None:
    message = str(error.value)
    assert "\n" not in message
    assert "it" in message or "labels" in message
    assert len(message) < 300


@pytest.mark.parametrize("name", MALFORMED_ARCHIVES)
def test_a_malformed_archive_is_rejected(name: str) -> None:
    with pytest.raises(DataError) as error:
        verify.unpack(MALFORMED_ARCHIVES[name], FILE, name="it")

    assert_one_line(error)


@pytest.mark.parametrize("name", MALFORMED_ARCHIVES)
def test_a_malformed_archive_of_unknown_size_is_rejected(name: str) -> None:
    with pytest.raises(DataError) as error:
        idx.parse_any(MALFORMED_ARCHIVES[name], "it")

    assert_one_line(error)


def read_pair(pixels: bytes, labels: bytes) -> None:
    arrays = (idx.parse(pixels, "it"), idx.parse(labels, "labels"))
    idx.pair(*arrays, names=("it", "labels"), classes=10)


def test_a_valid_pair_is_read() -> None:
    read_pair(IMAGES, LABELS)


@pytest.mark.parametrize("name", MALFORMED_IMAGES)
def test_malformed_images_are_rejected(name: str) -> None:
    with pytest.raises(DataError) as error:
        read_pair(MALFORMED_IMAGES[name], LABELS)

    assert_one_line(error)


@pytest.mark.parametrize("name", MALFORMED_LABELS)
def test_malformed_labels_are_rejected(name: str) -> None:
    with pytest.raises(DataError) as error:
        read_pair(IMAGES, MALFORMED_LABELS[name])

    assert_one_line(error)


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """The content with one to three random changes: flipped, lost, inserted and zeroed bytes."""
    changed = bytearray(content)
    for _ in range(random.integers(1, 4)):
        position = int(random.integers(0, len(changed) + 1))
        match random.integers(0, 6):
            case 0 if position < len(changed):
                changed[position] ^= 1 << int(random.integers(0, 8))
            case 1:
                del changed[position:]
            case 2:
                changed[position:position] = random.bytes(int(random.integers(1, 20)))
            case 3:
                del changed[position : position + int(random.integers(1, 20))]
            case 4:
                changed[position : position + 8] = bytes(8)
            case _:
                changed[: min(16, len(changed))] = random.bytes(min(16, len(changed)))
    return bytes(changed)


@contextlib.contextmanager
def collected(messages: list[str]) -> Iterator[None]:
    """Append the message of a DataError."""
    try:
        yield
    except DataError as error:
        messages.append(str(error))


@pytest.mark.parametrize("seed", range(10))
def test_randomly_changed_files_are_rejected_or_read_correctly(seed: int) -> None:
    random = np.random.default_rng(seed)
    messages: list[str] = []
    tracemalloc.start()
    for _ in range(100):
        archive, pixels = mutated(ARCHIVE, random), mutated(IMAGES, random)
        with collected(messages):
            assert verify.unpack(archive, FILE, name="it").content == IMAGES
        with collected(messages):
            assert (idx.parse_any(archive, "it") == idx.parse(IMAGES, "it")).all()
        with collected(messages):
            assert pixels.endswith(idx.parse_any(pixels, "it").tobytes())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert not [message for message in messages if "\n" in message]
    assert peak < 500_000  # mostly the messages; memory for a size from a bad header would be megabytes


def test_a_header_that_implies_a_gibibyte_is_rejected_before_unpacking() -> None:
    bomb = gzip.compress(header(2**21, 28, 28) + bytes(5_000_000))
    tracemalloc.start()

    with pytest.raises(DataError, match="implies more than 1 GiB"):
        idx.parse_any(bomb, "it")

    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_body_shorter_than_the_header_implies_uses_no_memory_for_the_difference() -> None:
    short = gzip.compress(header(2**20, 28, 28) + bytes(5_000))
    tracemalloc.start()

    with pytest.raises(DataError, match="unpacks to 5,016 bytes, expected"):
        idx.parse_any(short, "it")

    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
