import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from mnistctl.datasets import idx
from mnistctl.errors import DataError


def encode(array: np.ndarray, type_code: int = 8) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, type_code, array.ndim, *array.shape)
    return header + array.tobytes()


@given(arrays.arrays(np.uint8, arrays.array_shapes(max_dims=3, min_side=0)))
def test_an_encoded_array_is_read_back(array: np.ndarray) -> None:
    assert (idx.parse(encode(array), "file") == array).all()


def test_big_endian_integers_are_read() -> None:
    array = np.array([[1, -2], [3, 70_000]], dtype=">i4")

    assert idx.parse(encode(array, 0x0C), "file").tolist() == [[1, -2], [3, 70_000]]


IMAGES = encode(np.zeros((2, 28, 28), np.uint8))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes is too short"),
        (b"\0\0\x08", "3 bytes is too short"),
        (b"\0\1" + IMAGES[2:], "not an IDX file: it begins with 00 01"),
        (b"\0\0\x0d\3" + IMAGES[4:], "expected 00 00, a type"),
        (b"\0\0\x08\0" + IMAGES[4:], "expected 00 00, a type"),
        (b"\0\0\x08\4" + IMAGES[4:], "expected 00 00, a type"),
        (IMAGES[:10], "truncated in the IDX header"),
        (IMAGES[:-1], r"1,583 bytes, but the header \(2×28×28\) implies 1,584"),
        (IMAGES + b"\0", "1,585 bytes, but the header"),
        (b"\0\0\x08\3" + b"\xff" * 12 + b"x", "17 bytes, but the header"),
        (b"<html>not found</html>", "not an IDX file"),
    ],
)
def test_a_malformed_idx_file_is_rejected(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"^file: .*{message}"):
        idx.parse(content, "file")


ARCHIVE = gzip.compress(b"12345678", mtime=0)


def test_a_valid_archive_is_unpacked() -> None:
    assert idx.unpack_gzip(ARCHIVE, name="file", size_bytes=8) == b"12345678"


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (b"", "truncated after 0 bytes"),
        (ARCHIVE[:-1], "truncated"),
        (ARCHIVE[:12], "truncated"),
        (b"no gzip at all", "not a valid gzip file"),
        (ARCHIVE[:-8] + b"\0\0\0\0" + ARCHIVE[-4:], "not a valid gzip file"),
        (ARCHIVE[:-4] + b"\7\0\0\0", "not a valid gzip file"),
        (ARCHIVE + ARCHIVE, "bytes after the end of the gzip file"),
        (ARCHIVE + b"x", "1 bytes after the end of the gzip file"),
        (gzip.compress(b"1234567", mtime=0), "unpacks to 7 bytes, expected 8"),
        (gzip.compress(bytes(1_000_000), mtime=0), "more than the expected 8 bytes"),
    ],
)
def test_a_malformed_archive_is_rejected(archive: bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"^file: .*{message}"):
        idx.unpack_gzip(archive, name="file", size_bytes=8)
