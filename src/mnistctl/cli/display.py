"""The live display on stderr while a command works: log messages, progress bars and the epoch table."""

import contextlib
import logging
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from mnistctl.cli import render
from mnistctl.errors import printable
from mnistctl.run import progress
from mnistctl.system import torchrun

if TYPE_CHECKING:
    from mnistctl.cli.progress_bars import Bars
    from mnistctl.run.epoch import Epoch

# The training metrics are means over the epoch: weights and dropout change while they are measured.
_HEADER = (
    "       while training          validation\n"
    "epoch      loss  accuracy      loss  accuracy  seconds  saved"
)
_MAX_ROWS = 25  # of the epoch table


@contextlib.contextmanager
def live(*, quiet: bool, bars: bool = True) -> Iterator[None]:
    """Show messages and progress while a command works.

    If torchrun started several processes, only the first one shows anything.

    Args:
        quiet: show only warnings.
        bars: show progress too.
    """
    display = _Display(render.console(stderr=True))
    messages = _Messages(display)
    logger = logging.getLogger("mnistctl")
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    is_leader = torchrun.is_leader()
    if is_leader:
        logger.addHandler(messages)
    try:
        with progress.shown_by(display if bars and not quiet and is_leader else progress.Progress()):
            yield
    finally:
        display.trained()
        logger.removeHandler(messages)
        logger.setLevel(logging.NOTSET)


class _Messages(logging.Handler):
    """Prints a log record as one line; a warning is marked and coloured."""

    def __init__(self, display: "_Display") -> None:
        super().__init__()
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record's message."""
        message = printable(record.getMessage())
        if record.levelno < logging.WARNING:
            self._display.console.print(Text(message, style="dim"))
        else:
            self._display.end_bars()
            self._display.console.print(Text(f"mnistctl: warning: {message}", style="yellow"))


class _Display(progress.Progress):
    """Shows the progress of downloads, long tasks and training; bars on a terminal only."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars: Bars | None = None
        self._announced: set[str] = set()
        self._epochs_per_row = 1
        self._row: Text | None = None  # of the epoch table, not printed yet

    def download(self, file: str, received: int, total: int | None) -> None:
        """See `Progress.download`."""
        if file not in self._announced:
            self._announced.add(file)
            if not self.console.is_terminal:
                self.console.print(f"downloading {file}")
        self._update("download", file, received, total)

    def advance(self, task: str, done: int, total: int) -> None:
        """See `Progress.advance`."""
        if done < total:
            self._update("task", task, done, total)
        else:
            self.end_bars()

    def training(self, images: int, epochs: int) -> None:
        """See `Progress.training`."""
        self.end_bars()
        self._epochs_per_row = math.ceil(epochs / _MAX_ROWS)
        if self._epochs_per_row > 1:
            note = f"one row per {self._epochs_per_row} epochs; metrics.jsonl in the run folder has all"
            self.console.print(Text(note, style="dim"))
        self.console.print(Text(_HEADER, style="dim"))
        self._update("training", "training", 0, images)

    def step(self, images: int) -> None:
        """See `Progress.step`."""
        if self._bars is not None:
            self._bars.update("training", images)

    def epoch(self, epoch: "Epoch", *, best: bool) -> None:
        """Add a row to the table: in a long run the last saved epoch of several, or the last one."""
        row = (
            f"{epoch.epoch:>5}  {_loss(epoch.train_loss)}  {render.percent(epoch.train_accuracy):>8}"
            f"  {_loss(epoch.validation_loss)}  {render.percent(epoch.validation_accuracy):>8}"
            f"  {epoch.train_seconds:>7.1f}"
        )
        if best:
            self._row = Text(f"{row}  *", style="bold")
        elif self._row is None or not self._row.style:
            self._row = Text(row)
        if epoch.epoch % self._epochs_per_row == 0:
            self._print_row()
        elif self._bars is not None:
            self._bars.describe("training", f"epoch {epoch.epoch}")

    def trained(self) -> None:
        """See `Progress.trained`."""
        self._print_row()
        self.end_bars()

    def _print_row(self) -> None:
        if self._row is not None:
            self.console.print(self._row)
        self._row = None

    def end_bars(self) -> None:
        """Remove the bars from the screen."""
        if self._bars is not None:
            self._bars.stop()
        self._bars = None

    def _update(self, kind: str, name: str, done: int, total: int | None) -> None:
        if self._bars is None and self.console.is_terminal:
            from mnistctl.cli.progress_bars import Bars  # 10 ms

            self._bars = Bars(kind, self.console)
        if self._bars is not None:
            self._bars.update(name, done, total)


def _loss(value: float | None) -> str:
    """A loss, eight characters wide."""
    if value is None:
        return f"{'–':>8}"
    return f"{value:>8.4f}" if value < 1e3 else f"{value:>8.2e}"
