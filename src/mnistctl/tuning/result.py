"""The state and the results of a study, as plain values."""

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from mnistctl.settings import architectures
from mnistctl.settings.architectures import ARCHITECTURES
from mnistctl.system import files, records
from mnistctl.tuning.study import METRICS, Study
from mnistctl.types import Result

_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}


@dataclass(frozen=True)
class TrialResult(Result):
    """A trial of a study."""

    number: int  # from 0
    state: str  # running, interrupted, complete, pruned or failed
    settings: dict[str, Any]  # the searched ones
    runs: list[str]  # folders of its runs, one per seed
    objectives: dict[str, float]  # name -> value; empty: not complete
    validation_accuracy: float | None  # in [0, 1], mean of its runs; of the last epoch so far
    validation_loss: float | None  # in nats, as the accuracy; null: not finished
    epochs: int  # done so far; with several seeds 0 while the trial is running
    train_seconds: float | None  # per run; null: not finished
    error: str | None  # why it failed


@dataclass(frozen=True)
class Confirmation(Result):
    """A run with the best settings, on another split than the search."""

    run: str  # the run's folder
    seed: int  # of weights, batch order, augmentation and dropout
    split_seed: int  # of the train/validation split
    validation_accuracy: float  # in [0, 1], on images that the search did not use for validation
    validation_loss: float  # in nats
    test_accuracy: float | None  # in [0, 1]; null: no test images
    train_seconds: float  # of training


@dataclass(frozen=True)
class TuneResult(Result):
    """A study: its trials, the best of them, and how well its settings do on other images."""

    study: str  # its name
    folder: str  # with its runs, plots and settings
    arch: str  # a built-in name, torchvision:NAME or FILE.py:CLASS
    dataset: str  # a name, or the absolute path of a folder
    objectives: list[str]  # the first one decides which trial is the best
    planned_trials: int | None  # that the search ends with; null: it ends by time
    planned_confirmations: int  # runs with the best settings
    trials: list[TrialResult]  # in the order in which they were started
    best: int | None  # number of the best trial; null: none is complete
    front: list[int]  # numbers of the trials that no other one surpasses in all objectives
    confirmations: list[Confirmation]  # runs with the settings of the best trial
    confirmed_accuracy: float | None  # mean validation accuracy of these runs, in [0, 1]
    confirmed_std: float | None  # its sample standard deviation; null: fewer than two runs
    confirmed_difference: float | None  # confirmed accuracy - validation accuracy of the best trial
    test_accuracy: float | None  # mean of the confirmation runs, in [0, 1]
    config: str | None  # settings file of the best trial, for train --config
    plots: list[str] = field(default_factory=list)  # the files that were drawn

    @property
    def best_trial(self) -> TrialResult | None:
        """The best trial; None: none is complete."""
        return None if self.best is None else self.trials[self.best]

    @property
    def is_finished(self) -> bool:
        """Whether all planned trials and confirmations are done."""
        is_searched = self.planned_trials is not None and (
            len(self.trials) >= self.planned_trials and all(map(is_done, self.trials))
        )
        return is_searched and self.is_confirmed

    @property
    def is_confirmed(self) -> bool:
        """Whether all planned confirmations are done, or there is nothing to confirm."""
        return self.best is None or len(self.confirmations) >= self.planned_confirmations


def is_done(trial: TrialResult) -> bool:
    """Whether a trial has ended for good."""
    return trial.state in ("complete", "pruned", "failed")


def read(study: Study, *, with_claims: bool = False) -> TuneResult:
    """The state of a study.

    Args:
        study: to read.
        with_claims: whether to find out which of the running trials were interrupted.
    """
    definition, goal = study.definition, study.goal
    trials = []
    for frozen in study.trials():
        is_interrupted = (
            with_claims and frozen.state == TrialState.RUNNING and not study.is_claimed(frozen)
        )
        trials.append(_trial(study, frozen, is_interrupted=is_interrupted))
    best = study.best()
    confirmations = [] if best is None else _confirmations(study, best.number, goal.confirm)
    accuracies = [item.validation_accuracy for item in confirmations]
    tests = [item.test_accuracy for item in confirmations if item.test_accuracy is not None]
    mean = statistics.fmean(accuracies) if accuracies else None
    searched = None if best is None else best.user_attrs[METRICS]["validation_accuracy"]
    config = study.folder / "best.toml"
    return TuneResult(
        study=study.name,
        folder=str(study.folder),
        arch=definition.base.arch,
        dataset=definition.base.dataset,
        objectives=definition.objectives,
        planned_trials=goal.trials,
        planned_confirmations=goal.confirm,
        trials=trials,
        best=None if best is None else best.number,
        front=[frozen.number for frozen in study.front()],
        confirmations=confirmations,
        confirmed_accuracy=mean,
        confirmed_std=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        confirmed_difference=None if mean is None or searched is None else mean - searched,
        test_accuracy=statistics.fmean(tests) if tests else None,
        config=str(config) if config.is_file() else None,
    )


def write_config(study: Study, result: TuneResult) -> Path | None:
    """Write the settings of the best trial as a settings file; None: no trial is complete.

    Raises:
        WriteError: it cannot be written.
    """
    best = study.best()
    if best is None:
        return None
    settings = study.settings_of(best.params).to_json()
    arguments = settings.pop("arch_args")
    table = [] if settings["arch"] in ARCHITECTURES else ["", "[arch_args]", *_toml(arguments)]
    if not table:
        settings |= arguments
    searched = {name: value for name, value in settings.items() if name in best.params}
    fixed = {name: value for name, value in settings.items() if name not in best.params}
    path = study.folder / "best.toml"
    lines = [
        f"# Trial {best.number} of the study '{study.name}', the best of {len(result.trials)}.",
        f"# Train with these settings: mnistctl train --config {path}",
        *(("", "# searched", *_toml(searched)) if searched else ()),
        *("", "# the same for all trials", *_toml(fixed), *table, ""),
    ]
    files.write_bytes(path, "\n".join(lines).encode())
    return path


def _toml(values: Mapping[str, Any]) -> list[str]:
    """Lines of a TOML file: numbers, texts and lists are written as in JSON."""
    return [
        f"{name} = {json.dumps(value, ensure_ascii=False)}"
        for name, value in values.items()
        if value is not None
    ]


def _trial(study: Study, frozen: FrozenTrial, *, is_interrupted: bool) -> TrialResult:
    metrics = frozen.user_attrs.get(METRICS, {})
    reported = frozen.intermediate_values
    objectives = study.definition.objectives
    is_complete = frozen.state == TrialState.COMPLETE
    is_single = study.definition.seeds == 1  # otherwise, a report is the result of a seed
    accuracy = metrics.get("validation_accuracy")
    if accuracy is None and objectives[0] == "accuracy" and reported:
        accuracy = reported[max(reported)]
    return TrialResult(
        number=frozen.number,
        state="interrupted" if is_interrupted else _STATES[frozen.state],
        settings=architectures.to_json(study.values_of(frozen.params)),
        runs=[str(run.folder) for run in study.runs_of(frozen.number)],
        objectives=dict(zip(objectives, frozen.values, strict=True)) if is_complete else {},
        validation_accuracy=accuracy,
        validation_loss=metrics.get("validation_loss"),
        epochs=metrics.get("epochs") or (max(reported, default=0) if is_single else 0),
        train_seconds=metrics.get("train_seconds"),
        error=metrics.get("error"),
    )


def _confirmations(study: Study, trial: int, count: int) -> list[Confirmation]:
    stored = (study.confirmation(trial, number) for number in range(count))
    return [records.build(Confirmation, metrics) for metrics in stored if metrics is not None]
