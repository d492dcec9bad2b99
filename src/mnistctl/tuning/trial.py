"""Run a trial of a study, or a run that confirms its best settings."""

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, Trial, TrialState

from mnistctl.api import evaluate, train
from mnistctl.api.train import TrainResult
from mnistctl.errors import DataError, DivergedError, UsageError
from mnistctl.run.epoch import Epoch
from mnistctl.run.run_folder import Run
from mnistctl.settings import architectures
from mnistctl.settings.train_settings import TrainSettings
from mnistctl.tuning.definition import MEASURED_PER_EPOCH
from mnistctl.tuning.study import Study

_DETECTOR_SIDE = 64  # pixels of the image that a detector's multiply-adds are counted for


class PrunedError(Exception):
    """Raised in a run to end it, because its trial is pruned."""


def run_trial(study: Study, trial: Trial, data_dir: Path | None) -> None:
    """Run a claimed trial to its end, from where it was interrupted, and finish it.

    Args:
        study: of the trial.
        trial: to run.
        data_dir: the data folder; None: the default.

    Raises:
        MnistctlError: see `train`; the trial stays as it is, and can be resumed.
    """
    try:
        settings = study.settings_of(trial.params)
    except UsageError as error:  # the values are not possible together
        study.finish(trial, TrialState.FAIL, {"error": str(error), "validation_loss": None})
        return
    runs = study.runs_of(trial.number)
    results: list[TrainResult] = []
    try:
        for number, run in enumerate(runs):
            reporter = _Reporter(study, trial, run, is_single=len(runs) == 1)
            results.append(
                train.train_folder(
                    run.folder,
                    replace(settings, seed=settings.seed + number),
                    data_dir=data_dir,
                    after_epoch=reporter.after_epoch,
                    is_calibrated=False,
                )
            )
            reporter.after_run(results)
    except PrunedError:
        study.finish(trial, TrialState.PRUNED, _pruned_metrics(runs))
    except DivergedError as error:
        study.finish(trial, TrialState.FAIL, {"error": str(error), "validation_loss": None})
    else:
        metrics = _metrics(results, settings)
        values = [metrics[name] for name in study.definition.objectives]
        study.finish(trial, TrialState.COMPLETE, metrics, values)


def confirm(study: Study, best: FrozenTrial, number: int, data_dir: Path | None) -> None:
    """Train the settings of a trial with a new seed on another split, and evaluate the model.

    Args:
        study: of the trial.
        best: the trial.
        number: of this run, from 0.
        data_dir: the data folder; None: the default.

    Raises:
        MnistctlError: see `train` and `evaluate`.
    """
    settings = study.settings_of(best.params)
    settings = replace(
        settings,
        seed=settings.seed + study.definition.seeds + number,
        split_seed=settings.split_seed + 1,
    )
    run = study.confirmation_run(best.number, number)
    result = train.train_folder(run.folder, settings, data_dir=data_dir)
    metrics = {
        "run": str(run.folder),
        "seed": settings.seed,
        "split_seed": settings.split_seed,
        "validation_accuracy": result.validation_accuracy,
        "validation_loss": result.validation_loss,
        "test_accuracy": _test_accuracy(run, settings, data_dir),
        "train_seconds": result.train_seconds,
    }
    study.finish_confirmation(best.number, number, metrics)


def _test_accuracy(run: Run, settings: TrainSettings, data_dir: Path | None) -> float | None:
    """The accuracy on the test set; None: no test images."""
    arch = settings.arch if architectures.Architecture.parse(settings.arch).is_custom else None
    try:
        report = evaluate.evaluate(run.model_path, arch=arch, data_dir=data_dir, plots=False)
    except DataError:  # a folder with too few pictures has none for testing
        return None
    accuracy: float = report.accuracy
    return accuracy


class _Reporter:
    """Reports the progress of a trial to Optuna, and ends the run if the trial is pruned.

    A trial with a single seed reports after each epoch, one with several after each run: its mean so
    far, or its own value for the pruner 'wilcoxon', which compares seed by seed.
    """

    def __init__(self, study: Study, trial: Trial, run: Run, *, is_single: bool) -> None:
        self._study, self._trial, self._run, self._is_single = study, trial, run, is_single
        objective = study.definition.objective
        self._metric = f"validation_{objective if objective in MEASURED_PER_EPOCH else 'accuracy'}"

    def after_epoch(self, epoch: Epoch) -> None:
        """Report an epoch, and those before it that were not reported, as after an interruption.

        Raises:
            PrunedError: the trial is pruned.
        """
        if self._is_single:
            epochs = self._run.read_metrics()[: epoch.epoch]
            values = {item.epoch: getattr(item, self._metric) for item in epochs}
            if self._study.report(self._trial, values):
                raise PrunedError

    def after_run(self, results: list[TrainResult]) -> None:
        """Report the last of several runs.

        Raises:
            PrunedError: the trial is pruned.
        """
        if self._is_single:
            return
        values = [getattr(result, self._metric) for result in results]
        if self._study.definition.pruner != "wilcoxon":
            values = [statistics.fmean(values[: count + 1]) for count in range(len(values))]
        is_pruned = self._study.report(self._trial, dict(enumerate(values, start=1)))
        if is_pruned and len(results) < self._study.definition.seeds:
            raise PrunedError


def _metrics(results: list[TrainResult], settings: TrainSettings) -> dict[str, Any]:
    """The metrics of a complete trial: means over its runs."""

    def mean(name: str) -> float:
        return statistics.fmean(getattr(result, name) for result in results)

    return {
        "accuracy": mean("validation_accuracy"),
        "loss": mean("validation_loss"),
        "parameters": results[0].parameters,
        "multiply_adds": _multiply_adds(settings),
        "train_seconds": mean("train_seconds"),
        "validation_accuracy": mean("validation_accuracy"),
        "validation_loss": mean("validation_loss"),
        "epochs": max(result.epochs for result in results),
    }


def _pruned_metrics(runs: list[Run]) -> dict[str, Any]:
    """The metrics of a pruned trial: of its last run."""
    epochs = [run.read_metrics() for run in runs if run.metrics_path.is_file()]
    last = epochs[-1][-1]
    return {
        "validation_accuracy": last.validation_accuracy,
        "validation_loss": last.validation_loss,
        "train_seconds": sum(of_run[-1].train_seconds for of_run in epochs) / len(epochs),
        "epochs": last.epoch,
    }


def _multiply_adds(settings: TrainSettings) -> int:
    """Multiply-adds of a net for an image, or for 64×64 pixels of a page."""
    from mnistctl.nn import nets

    net = nets.build(settings.arch, arch_args=dict(settings.arch_args), classes=10)
    if architectures.task_of(settings.arch) == architectures.NUMBERS:
        return nets.count_multiply_adds(net, side=_DETECTOR_SIDE)
    return nets.count_multiply_adds(net)
