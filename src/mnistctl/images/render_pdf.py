"""Count or render the pages of a PDF file. `pdf.py` runs this file as a program.

Its argument is "count" or the number of a page, from 1. It reads the PDF file from standard input. It
prints the number of pages; or a line with the picture's width, height and scale, and then its pixels as
bytes of red, green, blue and padding.
"""

import sys

import pypdfium2

_MAX_CPU_S = 10
_MAX_MEMORY = 700_000_000  # bytes of address space
_FULL_SCALE = 200 / 72  # pixels per point: 200 dots per inch
_MAX_SIDE = 2_048  # pixels; `decode` reduces pictures further


def limit_resources() -> None:
    """End this process if it takes too much time or memory."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (_MAX_CPU_S, _MAX_CPU_S))
    if sys.platform == "linux":  # macOS does not support this limit
        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))


def main(argument: str) -> None:
    """Print the number of pages, or a page."""
    document = pypdfium2.PdfDocument(sys.stdin.buffer.read())
    if argument == "count":
        print(len(document))
        return
    page = document[int(argument) - 1]
    scale = min(_FULL_SCALE, _MAX_SIDE / max(page.get_size()))
    bitmap = page.render(scale, may_draw_forms=False, prefer_bgrx=True, rev_byteorder=True)
    print(bitmap.width, bitmap.height, _FULL_SCALE / scale, flush=True)
    sys.stdout.buffer.write(bitmap.buffer)


if __name__ == "__main__":
    limit_resources()
    try:
        main(sys.argv[1])
    except (pypdfium2.PdfiumError, ValueError, ZeroDivisionError, OverflowError, MemoryError) as error:
        sys.exit(str(error) or type(error).__name__)
