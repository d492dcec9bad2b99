"""The live display: bars on a terminal, plain lines elsewhere, always on stderr."""

from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from mnistctl.cli import render
from mnistctl.run.epoch import Epoch
from mnistctl.run.progress import SILENT, Watcher

__all__ = ["SILENT", "Display", "watcher"]

_HEADER = "epoch  train loss  accuracy  validation loss  accuracy  seconds"


def watcher(*, quiet: bool) -> "Display | _Quiet":
    """The watcher a command should use, as a context manager."""
    return _Quiet() if quiet else Display()


class _Quiet(Watcher):
    """Shows nothing but warnings."""

    def warn(self, message: str) -> None:
        render.complain(f"warning: {message}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


class Display(Watcher):
    """Shows downloads and training as they go."""

    def __init__(self) -> None:
        self._console = render.console(stderr=True)
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._announced: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end_bars()

    def note(self, message: str) -> None:
        """See `Watcher.note`."""
        self._console.print(Text(message, style="dim"), soft_wrap=True)

    def warn(self, message: str) -> None:
        """See `Watcher.warn`."""
        self._end_bars()
        self._console.print(Text(f"mnistctl: warning: {message}", style="yellow"), soft_wrap=True)

    def download(self, file: str, received: int, total: int | None) -> None:
        """See `Watcher.download`."""
        if file not in self._announced:
            self._announced.add(file)
            if not self._console.is_terminal:
                self._console.print(f"downloading {file}")
            self._begin_bars(BarColumn(), DownloadColumn(), TransferSpeedColumn())
        if self._progress is not None:
            if file not in self._tasks:
                self._tasks[file] = self._progress.add_task(file, total=total)
            self._progress.update(self._tasks[file], completed=received, total=total)

    def progress(self, what: str, done: int, total: int) -> None:
        """See `Watcher.progress`."""
        self._begin_bars(BarColumn(), TimeRemainingColumn(compact=True))
        if self._progress is not None:
            if what not in self._tasks:
                self._tasks[what] = self._progress.add_task(what, total=total)
            self._progress.update(self._tasks[what], completed=done)
        if done == total:
            self._end_bars()

    def training(self, images: int) -> None:
        """See `Watcher.training`."""
        self._end_bars()
        self._console.print(Text(_HEADER, style="dim"))
        self._begin_bars(BarColumn(), _ImagesPerSecond(), TimeRemainingColumn(compact=True))
        if self._progress is not None:
            self._tasks["training"] = self._progress.add_task("training", total=images)

    def step(self, images: int) -> None:
        """See `Watcher.step`."""
        if self._progress is not None:
            self._progress.update(self._tasks["training"], completed=images)

    def epoch(self, epoch: Epoch, *, best: bool) -> None:
        """See `Watcher.epoch`."""
        loss = epoch.validation_loss
        row = (
            f"{epoch.epoch:>5}  {epoch.train_loss:>10.4f}  {render.percent(epoch.train_accuracy):>8}"
            f"  {'–' if loss is None else f'{loss:.4f}':>15}"
            f"  {render.percent(epoch.validation_accuracy):>8}  {epoch.train_seconds:>7.1f}"
        )
        kept = best and loss is not None
        self._console.print(Text(row + ("  best so far" if kept else ""), "bold" if kept else ""))

    def _begin_bars(self, *columns: ProgressColumn) -> None:
        """Bars of these columns, on a terminal only, and only if none are shown."""
        if self._progress is None and self._console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                *columns,
                console=self._console,
                transient=True,
                redirect_stdout=False,  # results go to stdout past the bars, wherever that leads
            )
            self._progress.start()

    def _end_bars(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress = None
        self._tasks.clear()


class _ImagesPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.speed
        return Text("" if speed is None else f"{speed:,.0f} images/s", style="progress.data.speed")
