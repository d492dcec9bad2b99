"""The IDX format of MNIST's files: a magic number, sizes, then the values.

Source: http://yann.lecun.com/exdb/mnist/ (as published until 2025): two zero bytes, a type code, the
number of dimensions, then each size and the payload, all big-endian.
"""

import math
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mnistctl.errors import DataError
from mnistctl.types import IMAGE_SIZE, Images

GZIP_MAGIC = b"\x1f\x8b"
MAX_BYTES = 1 << 30  # of a raw file whose size nobody published
_TYPES: dict[int, np.dtype[Any]] = {0x08: np.dtype(np.uint8), 0x0C: np.dtype(">i4")}


def parse(content: bytes, name: str) -> npt.NDArray[Any]:
    """Read an IDX file's bytes as an array of its own shape; the array shares the bytes' memory.

    Args:
        content: the raw file, unpacked.
        name: what to call it in an error.

    Raises:
        DataError: not IDX, or longer or shorter than its header says.
    """
    dtype, shape, header = _read_header(content, name)
    expected = header + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise DataError(
            f"{name}: {len(content):,} bytes, but its header ({_sizes(shape)}) says {expected:,}"
        )
    return np.frombuffer(content, dtype, offset=header).reshape(shape)


def parse_any(content: bytes, name: str) -> npt.NDArray[Any]:
    """Read an IDX file of any size up to 1 GiB, packed or not; its header bounds the memory.

    Raises:
        DataError: as `parse` and `unpack_gzip`, or larger than 1 GiB.
    """
    if content[:2] == GZIP_MAGIC:
        start = _inflate(zlib.decompressobj(wbits=31), content, 16, name)
        dtype, shape, header = _read_header(start, name)
        size_bytes = header + math.prod(shape) * dtype.itemsize
        if size_bytes > MAX_BYTES:
            raise DataError(f"{name}: its header ({_sizes(shape)}) says more than 1 GiB")
        content = unpack_gzip(content, name=name, size_bytes=size_bytes)
    return parse(content, name)


def pair(
    images: npt.NDArray[Any], labels: npt.NDArray[Any], *, names: Sequence[str], classes: int
) -> tuple[Images, npt.NDArray[np.int64]]:
    """Images, uint8 (N, 28, 28), and labels, int64 (N,), from two IDX files that belong together.

    Args:
        images: as parsed.
        labels: as parsed; of two dimensions, the class is in the first column (QMNIST).
        names: of the two files, for errors.
        classes: how many there are; a label is below.

    Raises:
        DataError: not 28×28 images, not one label for each, or a label outside the classes.
    """
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise DataError(f"{names[0]}: {images.dtype} {images.shape}, expected uint8 images (N, 28, 28)")
    if labels.ndim == 2 and labels.shape[1]:
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != len(images):
        raise DataError(f"{names[1]}: {len(labels):,} labels for {len(images):,} images")
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        worst = labels.max() if labels.max() >= classes else labels.min()
        raise DataError(f"{names[1]}: label {worst}, expected 0 to {classes - 1}")
    return images, labels.astype(np.int64)


def _read_header(content: bytes, name: str) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Type, shape and length of the header."""
    if len(content) < 4:
        raise DataError(f"{name}: {len(content)} bytes is too short for an IDX file")
    zeros, type_code, dimensions = struct.unpack_from(">HBB", content)
    if zeros != 0 or type_code not in _TYPES or not 1 <= dimensions <= 3:
        raise DataError(
            f"{name}: not an IDX file: it begins with {content[:4].hex(' ')}, "
            "expected 00 00, a type (08 or 0c) and 1 to 3 dimensions"
        )
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise DataError(f"{name}: cut off inside its IDX header")
    return _TYPES[type_code], struct.unpack_from(f">{dimensions}I", content, 4), header


def _sizes(shape: tuple[int, ...]) -> str:
    return "×".join(f"{size:,}" for size in shape)


def unpack_gzip(archive: bytes, *, name: str, size_bytes: int) -> bytes:
    """Unpack a gzip archive of known content size; memory stays bounded by that size.

    Raises:
        DataError: not gzip, damaged, cut off, more or less than `size_bytes`, or followed by
            anything (a second member too).
    """
    unpacker = zlib.decompressobj(wbits=31)  # 31: gzip, with its CRC and length checked
    content = _inflate(unpacker, archive, size_bytes + 1, name)
    if len(content) > size_bytes:
        raise DataError(f"{name}: unpacks to more than the expected {size_bytes:,} bytes")
    if not unpacker.eof:
        raise DataError(f"{name}: gzip file cut off after {len(archive):,} bytes")
    if unpacker.unused_data:
        raise DataError(f"{name}: {len(unpacker.unused_data):,} bytes after the gzip file's end")
    if len(content) != size_bytes:
        raise DataError(f"{name}: unpacks to {len(content):,} bytes, expected {size_bytes:,}")
    return content


def _inflate(unpacker: "zlib._Decompress", archive: bytes, most: int, name: str) -> bytes:
    try:
        return unpacker.decompress(archive, most)
    except zlib.error as error:
        raise DataError(f"{name}: not a sound gzip file ({error})") from error
