"""Read the IDX format of MNIST's files: a magic number, the sizes, then the values.

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
from mnistctl.types import IMAGE_SIZE, Images, Labels

GZIP_MAGIC = b"\x1f\x8b"
MAX_BYTES = 1 << 30  # of a raw file in a user's folder, whose size is not published
_GZIP_WBITS = 31  # zlib: a gzip stream, with its CRC and its length checked
_LONGEST_HEADER_BYTES = 16  # three dimensions
_DTYPES: dict[int, np.dtype[Any]] = {0x08: np.dtype(np.uint8), 0x0C: np.dtype(">i4")}


def parse(content: bytes, name: str) -> npt.NDArray[Any]:
    """Read the bytes of an IDX file as an array, which shares their memory.

    Args:
        content: the raw file, unpacked.
        name: the name of the file, for errors.

    Returns:
        uint8 or big-endian int32, in the shape that the header gives.

    Raises:
        DataError: the bytes are not IDX, or their number is not what the header implies.
    """
    dtype, shape, header_bytes = _read_header(content, name)
    expected = header_bytes + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise DataError(
            f"{name}: {len(content):,} bytes, but the header ({_sizes(shape)}) implies {expected:,}"
        )
    return np.frombuffer(content, dtype, offset=header_bytes).reshape(shape)


def parse_any(content: bytes, name: str) -> npt.NDArray[Any]:
    """Read an IDX file of up to 1 GiB, packed or not. The header limits the memory that is used.

    Raises:
        DataError: as `parse` and `unpack_gzip`, or the file is larger than 1 GiB.
    """
    if content[:2] == GZIP_MAGIC:
        unpacker = zlib.decompressobj(_GZIP_WBITS)
        start = _inflate(unpacker, content, _LONGEST_HEADER_BYTES, name)
        dtype, shape, header_bytes = _read_header(start, name)
        size_bytes = header_bytes + math.prod(shape) * dtype.itemsize
        if size_bytes > MAX_BYTES:
            raise DataError(f"{name}: the header ({_sizes(shape)}) implies more than 1 GiB")
        content = unpack_gzip(content, name=name, size_bytes=size_bytes)
    return parse(content, name)


def pair(
    images: npt.NDArray[Any], labels: npt.NDArray[Any], *, names: Sequence[str], classes: int
) -> tuple[Images, Labels]:
    """Check that two parsed IDX files are the images and the labels of one dataset.

    Args:
        images: as parsed.
        labels: as parsed. If they have two dimensions, the class is in the first column (QMNIST).
        names: the names of the two files, for errors.
        classes: the number of classes; labels are 0 to `classes - 1`.

    Returns:
        uint8 (N, 28, 28), and int64 (N,).

    Raises:
        DataError: the images are not 28×28, or there is not one label per image, or a label is out
            of range.
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


def unpack_gzip(archive: bytes, *, name: str, size_bytes: int) -> bytes:
    """Unpack a gzip archive whose content has a known size. That size limits the memory used.

    Raises:
        DataError: the archive is not gzip, damaged or truncated; or its content is larger or smaller
            than `size_bytes`; or something follows it, such as a second member.
    """
    unpacker = zlib.decompressobj(_GZIP_WBITS)
    content = _inflate(unpacker, archive, size_bytes + 1, name)
    if len(content) > size_bytes:
        raise DataError(f"{name}: unpacks to more than the expected {size_bytes:,} bytes")
    if not unpacker.eof:
        raise DataError(f"{name}: gzip file truncated after {len(archive):,} bytes")
    if unpacker.unused_data:
        raise DataError(f"{name}: {len(unpacker.unused_data):,} bytes after the end of the gzip file")
    if len(content) != size_bytes:
        raise DataError(f"{name}: unpacks to {len(content):,} bytes, expected {size_bytes:,}")
    return content


def _read_header(content: bytes, name: str) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """The type, the shape, and the length of the header in bytes."""
    if len(content) < 4:
        raise DataError(f"{name}: {len(content)} bytes is too short for an IDX file")
    zeros, type_code, dimensions = struct.unpack_from(">HBB", content)
    if zeros != 0 or type_code not in _DTYPES or not 1 <= dimensions <= 3:
        raise DataError(
            f"{name}: not an IDX file: it begins with {content[:4].hex(' ')}, "
            "expected 00 00, a type (08 or 0c) and 1 to 3 dimensions"
        )
    header_bytes = 4 + 4 * dimensions
    if len(content) < header_bytes:
        raise DataError(f"{name}: truncated in the IDX header")
    return _DTYPES[type_code], struct.unpack_from(f">{dimensions}I", content, 4), header_bytes


def _sizes(shape: tuple[int, ...]) -> str:
    return "×".join(f"{size:,}" for size in shape)


def _inflate(unpacker: "zlib._Decompress", archive: bytes, max_bytes: int, name: str) -> bytes:
    try:
        return unpacker.decompress(archive, max_bytes)
    except zlib.error as error:
        raise DataError(f"{name}: not a valid gzip file ({error})") from error
