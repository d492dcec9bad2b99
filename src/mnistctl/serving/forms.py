"""The body of a request with pictures: one picture, or a form with files."""

import math
import zlib
from collections.abc import Iterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import File, FormParser, parse_options_header

from mnistctl.errors import printable, shorten

ENCODINGS = ("gzip", "deflate")
PICTURE_NAME = "-"  # of a picture that is the whole body, as of one on standard input

_FORM = b"multipart/form-data"
_MAX_FILES = 100
_MAX_NAME = 255  # characters
_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class FormError(Exception):
    """A body that cannot be read."""


def decompress(body: bytes, encoding: str, *, max_bytes: int) -> bytes:
    """A body without its Content-Encoding.

    Raises:
        FormError: it is damaged, or too large.
    """
    if not encoding:
        return body
    decompressor = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        content = decompressor.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise FormError(f"the body is not {encoding}") from error
    if len(content) > max_bytes:
        raise FormError(f"the body has more than {max_bytes:,} bytes once it is decompressed")
    if not decompressor.eof:
        raise FormError(f"the body is not complete {encoding}")
    return content


def pictures(body: bytes, content_type: str) -> Iterator[tuple[str, bytes]]:
    """The names and contents of the pictures in a body.

    Args:
        body: a picture, or a form (multipart/form-data) with one file or more.
        content_type: of the body.

    Raises:
        FormError: the form is damaged, or has no file or too many.
    """
    kind, parameters = parse_options_header(content_type)
    if kind != _FORM:
        yield PICTURE_NAME, body
        return
    files: list[File] = []

    def add(file: File) -> None:
        if len(files) == _MAX_FILES:
            raise FormError(f"more than {_MAX_FILES} files in the form")
        files.append(file)

    if b"boundary" not in parameters:
        raise FormError("the form's Content-Type has no boundary")
    config = {"MAX_MEMORY_FILE_SIZE": math.inf}  # nothing is written to disk
    try:
        parser = FormParser(_FORM.decode(), None, add, boundary=parameters[b"boundary"], config=config)
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise FormError(f"the form is damaged ({shorten(str(error))})") from error
    if not files:
        raise FormError("the form has no file")
    for file in files:
        stream = file.file_object
        stream.seek(0)
        name = (file.file_name or b"").decode(errors="replace")
        yield printable(name)[:_MAX_NAME] or PICTURE_NAME, stream.read()
