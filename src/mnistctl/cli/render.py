"""What a person or a program reads: results on stdout, progress and notes on stderr."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text


class Result(Protocol):
    """What every verb returns."""

    def to_json(self) -> dict[str, Any]:
        """Plain values under stable keys."""
        ...


_WIDEST = 10_000  # columns

ResultT = TypeVar("ResultT", bound=Result)


def console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr as they are now."""
    return Console(
        stderr=stderr, highlight=False, markup=False, soft_wrap=stderr
    )  # names may hold [brackets]


def show(
    result: ResultT, render: Callable[[ResultT], Iterable[RenderableType]], *, as_json: bool
) -> None:
    """Print a result: for a program, or for a person."""
    if as_json:
        show_json(result.to_json())
    else:
        show_parts(render(result))


def show_all(
    results: Sequence[ResultT],
    render: Callable[[Sequence[ResultT]], Iterable[RenderableType]],
    *,
    as_json: bool,
) -> None:
    """Print several results: for a program a list, or for a person."""
    if as_json:
        show_json([result.to_json() for result in results])
    else:
        show_parts(render(results))


def show_parts(parts: Iterable[RenderableType]) -> None:
    """Print texts and tables; where they are too wide the terminal wraps them, and nothing is cut."""
    screen = console()
    usual = screen.width
    for part in parts:
        if isinstance(part, Table) and all(column.no_wrap for column in part.columns):
            natural = screen.measure(part, options=screen.options.update(max_width=_WIDEST)).maximum
            screen.width = max(usual, natural)
            screen.print(part)
            screen.width = usual
        else:
            screen.print(part, soft_wrap=isinstance(part, str | Text))


def show_json(value: Any) -> None:
    """Print plain values as JSON."""
    # Flushed here, where Typer still sees that whoever read has had enough (`… | head`).
    print(json.dumps(value, indent=2, ensure_ascii=False), flush=True)


def show_csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows as CSV."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    sys.stdout.flush()


def complain(message: str) -> None:
    """One line on stderr about something that does not stop the rest."""
    print(f"mnistctl: {message}", file=sys.stderr)


def table(*columns: str, title: str | None = None, left: Sequence[int] = (0,)) -> Table:
    """A table in the one look of all tables: figures right, and left the columns that say names."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="dim")
    for number, column in enumerate(columns):
        made.add_column(column, justify="left" if number in left else "right", no_wrap=True)
    return made


def bold(text: object) -> Text:
    """Something that should stand out."""
    return Text(str(text), style="bold")


def percent(share: float | None, *, digits: int = 2) -> str:
    """A share in [0, 1] as per cent; a dash for None."""
    return "–" if share is None else f"{100 * share:.{digits}f}%"


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "kB", "MB"):
        if count < 1000 or unit == "MB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
