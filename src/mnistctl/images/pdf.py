"""Render pages of PDF files. Each page is rendered in a process of its own, with limits.

PDF is a large language, and its files come from strangers. A page that takes too much time or memory,
or crashes the renderer, costs that page alone.
"""

import subprocess
from pathlib import Path

from PIL import Image

from mnistctl.errors import PictureError
from mnistctl.system import processes

_PROGRAM = Path(__file__).with_name("render_pdf.py")
_TIMEOUT_S = 60  # of waiting; the process limits its own processor time to 10 s


def count_pages(content: bytes, *, name: str) -> int:
    """The number of pages of a PDF file.

    Raises:
        PictureError: it is damaged, protected by a password, or takes too much time or memory.
    """
    return int(_run(content, "count", name=name))


def render(content: bytes, page: int, *, name: str) -> tuple[Image.Image, float]:
    """Render a page in colour, its longer side at most 2,048 pixels.

    Args:
        content: of the PDF file.
        page: its number, from 1.
        name: of the picture in error messages.

    Returns:
        The picture, and the size of the page at 200 dots per inch divided by the size of the picture.

    Raises:
        PictureError: as in `count_pages`.
    """
    header, _, pixels = _run(content, str(page), name=name).partition(b"\n")
    width, height, scale = header.split()
    picture = Image.frombytes("RGB", (int(width), int(height)), pixels, "raw", "RGBX")
    return picture, float(scale)


def _run(content: bytes, argument: str, *, name: str) -> bytes:
    try:
        process = processes.run_python(_PROGRAM, argument, input=content, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise PictureError(f"{name}: rendering took longer than {_TIMEOUT_S} s") from error
    if process.returncode < 0:
        raise PictureError(f"{name}: rendering takes too much time or memory")
    if process.returncode:
        reason = process.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise PictureError(f"{name}: the PDF cannot be rendered ({''.join(reason)[:200]})")
    return process.stdout
