"""The live table of a search."""

import json
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from mnistctl.cli import render

if TYPE_CHECKING:
    from rich.live import Live

    from mnistctl.tuning.result import TrialResult, TuneResult

_ROWS_BESIDE_TABLE = 6  # lines of the terminal that the table leaves free
_MIN_ROWS = 3
_STYLES = {"running": "bold", "pruned": "dim", "failed": "red", "interrupted": "yellow"}


class StudyDisplay:
    """Shows a study on stderr: a live table on a terminal, otherwise a line per finished trial.

    Args:
        quiet: whether to show nothing.
        as_json_lines: whether to print each finished trial to stdout, as a line of JSON.
    """

    def __init__(self, *, quiet: bool, as_json_lines: bool) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._is_live = self._console.is_terminal and not quiet
        self._quiet, self._as_json_lines = quiet, as_json_lines
        self._live: Live | None = None
        self._printed: set[int] = set()
        self._started = time.monotonic()
        self._at_start = 0  # trials that were finished then

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, result: "TuneResult") -> None:
        """Show the present state."""
        done = [trial for trial in result.trials if trial.state in ("complete", "pruned", "failed")]
        if self._live is None and not self._printed:
            self._at_start = len(done)
        new = [trial for trial in done if trial.number not in self._printed]
        self._printed |= {trial.number for trial in new}
        for trial in new:
            if self._as_json_lines:
                print(json.dumps(trial.to_json(), ensure_ascii=False), flush=True)
            if not self._is_live and not self._quiet:
                self._console.print(_line(trial), soft_wrap=True)
        if not self._is_live:
            return
        if self._live is None:
            from rich.live import Live  # 10 ms

            self._live = Live(
                console=self._console, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
        self._live.update(self._view(result, len(done)))

    def _view(self, result: "TuneResult", done: int) -> Group:
        rows = max(_MIN_ROWS, self._console.height - _ROWS_BESIDE_TABLE)
        running = [trial for trial in result.trials if trial.state == "running"]
        others = [trial for trial in result.trials if trial.state != "running"]
        shown = others[len(others) - max(0, rows - len(running)) :] if len(others) > rows else others
        table = trial_table(result, sorted([*shown, *running], key=lambda trial: trial.number))
        table.expand = False
        table.columns[-1].no_wrap, table.columns[-1].overflow = True, "ellipsis"
        return Group(table, Text(self._status(result, done), style="bold"))

    def _status(self, result: "TuneResult", done: int) -> str:
        elapsed = time.monotonic() - self._started
        planned = result.planned_trials
        text = f"{done} trials" if planned is None else f"{done} of {planned} trials"
        if result.best_trial is not None:
            accuracy = render.percent(result.best_trial.validation_accuracy)
            text += f", best {accuracy} (trial {result.best})"
        if planned is not None and done >= planned:
            text += f", confirming: {len(result.confirmations)} of {result.planned_confirmations} runs"
        text += f", {_clock(elapsed)} elapsed"
        new = done - self._at_start
        if planned is not None and new > 0 and done < planned:
            text += f", about {_clock(elapsed / new * (planned - done))} left"
        return text


def trial_table(result: "TuneResult", trials: Sequence["TrialResult"]) -> Table:
    """A table of trials; the best one is marked."""
    others = [name for name in result.objectives if name not in ("accuracy", "loss")]
    table = render.table(
        *("trial", "state", "accuracy", "loss", "epochs", *others, "settings"),
        left=(1, 5 + len(others)),
        wrap=(5 + len(others),),
    )
    table.columns[0].justify = "right"
    for trial in trials:
        is_best = trial.number == result.best
        values = (render.number(trial.objectives.get(name), ".4g") for name in others)
        table.add_row(
            f"{trial.number}{'*' if is_best else ' '}",
            trial.state,
            render.percent(trial.validation_accuracy),
            render.number(trial.validation_loss, ".4f"),
            str(trial.epochs),
            *values,
            trial.error or _settings(trial),
            style="bold" if is_best else _STYLES.get(trial.state, ""),
        )
    return table


def _settings(trial: "TrialResult") -> str:
    return "  ".join(f"{name}={_text(value)}" for name, value in trial.settings.items())


def _text(value: object) -> str:
    from mnistctl.tuning.search_space import text_of

    return text_of(value)


def _line(trial: "TrialResult") -> str:
    accuracy = render.percent(trial.validation_accuracy)
    return (
        f"trial {trial.number}: {trial.state}, accuracy {accuracy}, {trial.error or _settings(trial)}"
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
