"""Fit text and tables to the width of a terminal; words, paths and commands are not broken."""

import copy
import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Column, Table
from rich.text import Text

_GAP = 2  # columns between those of a table
_MIN_WRAPPED = 24  # columns for text that is wrapped

# A word, or a command to paste: in quotes, or from a colon or a gap to the end of the line.
_WORDS = re.compile(r"(?:'mnistctl [^']*'\S*|(?:(?<=: )|(?<=  ))mnistctl .*|\S+)\s*|\s+")


def fit_text(text: Text, width: int, *, indent: int = 0) -> Text:
    """Text whose lines are wrapped between words; indented lines are commands and are left alone.

    Args:
        text: one or several lines.
        width: in columns. A word that is longer is left to the terminal.
        indent: of all lines but the first, in columns.
    """
    lines: list[Text] = []
    for line in text.split("\n", allow_blank=True):
        plain, start = line.plain, 0
        offsets: list[int] = []
        for word in _WORDS.finditer(plain if indent or not plain.startswith("  ") else ""):
            room = width - (indent if offsets else 0)
            if word.start() > start and cell_len(plain[start : word.end()].rstrip()) > room:
                start = word.start()
                offsets.append(start)
        first, *others = line.divide(offsets)
        for part in (first, *others) if others else ():
            part.rstrip()
        lines += [first, *(Text(" " * indent).append_text(part) for part in others)]
    return Text("\n", style=text.style).join(lines)


def fit_table(table: Table, width: int) -> Iterator[RenderableType]:
    """The table; if it is too wide, as several tables with the same first column.

    A table without headings becomes lines: the first column, and the second one wrapped beside it.
    """
    first, *others = table.columns
    if not table.show_header:
        indent = _width(first) + _GAP
        for name, value in zip(first.cells, others[0].cells, strict=True):
            line = Text.assemble(_text(name), " " * (indent - cell_len(str(name))), _text(value))
            yield fit_text(line, width, indent=indent)
        return
    while others:
        count = len(others)
        while count > 1 and needed_width([first, *others[:count]]) > width:
            count -= 1
        yield _part(table, [first, *others[:count]])
        others = others[count:]


def needed_width(columns: Sequence[Column]) -> int:
    """The width of a table of these columns, if those that may be wrapped are."""
    widths = (_width(column) if column.no_wrap else _wrapped_width(column) for column in columns)
    return sum(widths) + _GAP * (len(columns) - 1)


def _part(table: Table, columns: Sequence[Column]) -> Table:
    part = copy.copy(table)
    part.columns = [copy.copy(column) for column in columns]
    for index, column in enumerate(part.columns):
        column._index = index
    return part


def _width(column: Column) -> int:
    lines = (line for cell in (column.header, *column.cells) for line in str(cell).split("\n"))
    return max(map(cell_len, lines))


def _wrapped_width(column: Column) -> int:
    words = (word for cell in (column.header, *column.cells) for word in str(cell).split())
    return max(min(_MIN_WRAPPED, _width(column)), *map(cell_len, words))


def _text(cell: RenderableType) -> Text:
    return cell if isinstance(cell, Text) else Text(str(cell))
