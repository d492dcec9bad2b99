"""The IDX format of MNIST's files: a magic number, sizes, then the values.

Source: http://yann.lecun.com/exdb/mnist/ (as published until 2025): two zero bytes, a type code, the
number of dimensions, then each size and the payload, all big-endian.
"""

import math
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from mnistctl.errors import DataError

_TYPES: dict[int, np.dtype[Any]] = {0x08: np.dtype(np.uint8), 0x0C: np.dtype(">i4")}


def parse(content: bytes, name: str) -> npt.NDArray[Any]:
    """Read an IDX file's bytes as an array of its own shape; the array shares the bytes' memory.

    Args:
        content: the raw file, unpacked.
        name: what to call it in an error.

    Raises:
        DataError: not IDX, or longer or shorter than its header says.
    """
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
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    dtype = _TYPES[type_code]
    expected = header + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        sizes = "×".join(f"{size:,}" for size in shape)
        raise DataError(f"{name}: {len(content):,} bytes, but its header ({sizes}) says {expected:,}")
    return np.frombuffer(content, dtype, offset=header).reshape(shape)


def unpack_gzip(archive: bytes, *, name: str, size_bytes: int) -> bytes:
    """Unpack a gzip archive of known content size; memory stays bounded by that size.

    Raises:
        DataError: not gzip, damaged, cut off, more or less than `size_bytes`, or followed by
            anything (a second member too).
    """
    unpacker = zlib.decompressobj(wbits=31)  # 31: gzip, with its CRC and length checked
    try:
        content = unpacker.decompress(archive, size_bytes + 1)
    except zlib.error as error:
        raise DataError(f"{name}: not a sound gzip file ({error})") from error
    if len(content) > size_bytes:
        raise DataError(f"{name}: unpacks to more than the expected {size_bytes:,} bytes")
    if not unpacker.eof:
        raise DataError(f"{name}: gzip file cut off after {len(archive):,} bytes")
    if unpacker.unused_data:
        raise DataError(f"{name}: {len(unpacker.unused_data):,} bytes after the gzip file's end")
    if len(content) != size_bytes:
        raise DataError(f"{name}: unpacks to {len(content):,} bytes, expected {size_bytes:,}")
    return content
