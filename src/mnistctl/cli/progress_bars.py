"""The progress bars of `display.live`. A module of its own, since rich's take 10 ms to import."""

from rich.console import Console
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


class Bars:
    """Progress bars on a terminal, one for each name.

    Args:
        kind: "download", "training", or "task" for anything else: what stands beside the bars.
        console: where they are shown.
    """

    def __init__(self, kind: str, console: Console) -> None:
        columns: dict[str, list[ProgressColumn]] = {
            "download": [DownloadColumn(), TransferSpeedColumn()],
            "training": [_ImagesPerSecond(), TimeRemainingColumn(compact=True)],
            "task": [TimeRemainingColumn(compact=True)],
        }
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            *columns[kind],
            console=console,
            transient=True,
            redirect_stdout=False,  # results on stdout are not part of the display
        )
        self._progress.start()

    def update(self, name: str, done: int, total: int | None = None) -> None:
        """Move a bar, or add it; `total` stays as it is if None."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done, total=total)

    def describe(self, name: str, text: str) -> None:
        """Change the text beside a bar."""
        self._progress.update(self._tasks[name], description=text)

    def stop(self) -> None:
        """Remove the bars from the screen."""
        self._progress.stop()


class _ImagesPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.speed
        return Text("" if speed is None else f"{speed:,.0f} images/s", style="progress.data.speed")
