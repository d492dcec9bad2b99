"""Output for people and programs: results on stdout, errors on stderr."""

import itertools
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from mnistctl.cli import layout
from mnistctl.errors import printable
from mnistctl.types import Result

_MAX_WIDTH = 10_000  # columns
NEXT = "\nnext:"  # above the commands that could be next

ResultT = TypeVar("ResultT", bound=Result | Sequence[Result])


class TerminalConsole(Console):
    """Wraps text between words on a terminal. In a pipe or a file nothing is wrapped."""

    def print(self, *objects: Any, **options: Any) -> None:
        """See `Console.print`."""
        if self.file.isatty():
            texts = (Text(item) if isinstance(item, str) else item for item in objects)
            objects = tuple(
                layout.fit_text(item, self.width) if isinstance(item, Text) else item for item in texts
            )
        super().print(*objects, **options)


def console(*, stderr: bool = False) -> Console:
    """A console on the current stdout or stderr; no markup, since names may hold [brackets] or :b:."""
    return TerminalConsole(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def show(
    result: ResultT,
    render: Callable[[ResultT], Iterable[RenderableType]],
    *,
    as_json: bool,
    quiet: bool = False,
) -> None:
    """Print a result or a list of results, as JSON or as text and tables.

    Args:
        result: what a function of mnistctl returned.
        render: makes the texts and tables.
        as_json: whether to print JSON.
        quiet: whether to leave out the commands that could be next.
    """
    if not as_json:
        parts = render(result)
        show_text(itertools.takewhile(lambda part: part != NEXT, parts) if quiet else parts)
    elif isinstance(result, Sequence):
        show_json([item.to_json() for item in result])
    else:
        show_json(result.to_json())


def show_text(parts: Iterable[RenderableType]) -> None:
    """Print texts and tables, fitted to the terminal. Nothing is cut."""
    screen = console()
    width = terminal_width() or _MAX_WIDTH
    for part in parts:
        fitted = layout.fit_table(part, width) if isinstance(part, Table) else [part]
        for item in fitted:
            if isinstance(item, Table):
                screen.width = max(width, layout.needed_width(item.columns))
            screen.print(item, soft_wrap=not isinstance(item, Table))
            screen.width = width


def terminal_width() -> int | None:
    """The width of the terminal on stdout, in columns; None: stdout is a pipe or a file."""
    return console().width if sys.stdout.isatty() else None


def show_json(value: Any) -> None:
    """Print plain values as JSON."""
    # Flushed here, where Typer still handles a closed pipe (`… | head`).
    print(json.dumps(value, indent=2, ensure_ascii=False), flush=True)


def show_markdown(parts: Iterable[RenderableType]) -> None:
    """Print texts and tables as Markdown."""
    for part in parts:
        if not isinstance(part, Table):
            print(f"{part}".strip())
            continue
        headings = [str(column.header).strip().replace("\n", " ") for column in part.columns]
        lines = ["---:" if column.justify == "right" else "---" for column in part.columns]
        rows = zip(*(map(str, column.cells) for column in part.columns), strict=True)
        print("", *(f"| {' | '.join(cells)} |" for cells in (headings, lines, *rows)), sep="\n")


def show_error(message: str) -> None:
    """Print one line on stderr about a problem that does not stop the command."""
    console(stderr=True).print(f"mnistctl: {printable(message)}")


def table(
    *headings: str,
    title: str | None = None,
    left: Sequence[int] = (0,),
    wrap: Sequence[int] = (),
) -> Table:
    """An empty table in the style of all tables.

    Args:
        headings: of the columns.
        title: above the table.
        left: the indices of the columns that are aligned left; the others hold numbers.
        wrap: the indices of the columns with text that may be wrapped on a narrow terminal.
    """
    grid = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="dim")
    for index, heading in enumerate(headings):
        justify: Literal["left", "right"] = "left" if index in left else "right"
        grid.add_column(heading, justify=justify, no_wrap=index not in wrap)
    return grid


def quoted(path: object) -> str:
    """A path as an argument of a command to paste."""
    return subprocess.list2cmdline([str(path)]) if os.name == "nt" else shlex.quote(str(path))


def bold(text: object) -> Text:
    """Bold text."""
    return Text(str(text), style="bold")


def percent(share: float | None) -> str:
    """A share in [0, 1] as a percentage; a dash for None."""
    return "–" if share is None else f"{100 * share:.2f}%"


def number(value: float | str | None, spec: str = "") -> str:
    """A value in a format specification; a dash for None."""
    return "–" if value is None else format(value, spec)
