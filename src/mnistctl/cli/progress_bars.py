"""What `display.live` shows: progress bars on a terminal, log messages everywhere.

A module of its own, since rich's progress bars and log handler take 20 ms to import.
"""

import logging
from types import TracebackType

from rich.console import Console, ConsoleRenderable
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    DownloadColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text
from rich.traceback import Traceback

from mnistctl.cli import render
from mnistctl.run import progress
from mnistctl.run.epoch import Epoch

_HEADER = "epoch  train loss  accuracy  validation loss  accuracy  seconds"


class MessageHandler(RichHandler):
    """Prints a log record as one line; a warning is marked and coloured."""

    def __init__(self, console: Console, display: "Display") -> None:
        super().__init__(console=console)
        self._display = display

    def render(
        self,
        *,
        record: logging.LogRecord,
        traceback: Traceback | None,
        message_renderable: ConsoleRenderable,
    ) -> Text:
        """The line of a record, without the columns for time and level that rich adds."""
        if record.levelno < logging.WARNING:
            return Text(record.getMessage(), style="dim")
        self._display.end_bars()
        return Text(f"mnistctl: warning: {record.getMessage()}", style="yellow")


class Display(progress.Progress):
    """Shows the progress of downloads, long tasks and training."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._announced: set[str] = set()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end_bars()

    def download(self, file: str, received: int, total: int | None) -> None:
        """See `Progress.download`."""
        if file not in self._announced:
            self._announced.add(file)
            if not self._console.is_terminal:
                self._console.print(f"downloading {file}")
            self._begin_bars(BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._update(file, received, total)

    def advance(self, task: str, done: int, total: int) -> None:
        """See `Progress.advance`."""
        self._begin_bars(BarColumn(), TimeRemainingColumn(compact=True))
        self._update(task, done, total)
        if done == total:
            self.end_bars()

    def training(self, images: int) -> None:
        """See `Progress.training`."""
        self.end_bars()
        self._console.print(Text(_HEADER, style="dim"))
        self._begin_bars(BarColumn(), _ImagesPerSecond(), TimeRemainingColumn(compact=True))
        if self._bars is not None:
            self._tasks["training"] = self._bars.add_task("training", total=images)

    def step(self, images: int) -> None:
        """See `Progress.step`."""
        if self._bars is not None:
            self._bars.update(self._tasks["training"], completed=images)

    def epoch(self, epoch: Epoch, *, best: bool) -> None:
        """See `Progress.epoch`."""
        loss = epoch.validation_loss
        row = (
            f"{epoch.epoch:>5}  {epoch.train_loss:>10.4f}  {render.percent(epoch.train_accuracy):>8}"
            f"  {'–' if loss is None else f'{loss:.4f}':>15}"
            f"  {render.percent(epoch.validation_accuracy):>8}  {epoch.train_seconds:>7.1f}"
        )
        is_marked = best and loss is not None
        row += "  best so far" if is_marked else ""
        self._console.print(Text(row, style="bold" if is_marked else ""))

    def end_bars(self) -> None:
        """Remove the bars from the screen."""
        if self._bars is not None:
            self._bars.stop()
        self._bars = None
        self._tasks.clear()

    def _begin_bars(self, *columns: ProgressColumn) -> None:
        """Start bars with these columns, on a terminal and unless there are bars already."""
        if self._bars is None and self._console.is_terminal:
            self._bars = Bars(
                TextColumn("{task.description}"),
                *columns,
                console=self._console,
                transient=True,
                redirect_stdout=False,  # results on stdout are not part of the display
            )
            self._bars.start()

    def _update(self, name: str, done: int, total: int | None) -> None:
        if self._bars is None:
            return
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total)
        self._bars.update(self._tasks[name], completed=done, total=total)


class _ImagesPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.speed
        return Text("" if speed is None else f"{speed:,.0f} images/s", style="progress.data.speed")
