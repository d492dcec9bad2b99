"""`train` and `train_seeds`: train a net by a recipe, once or with several seeds."""

import contextlib
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnistctl.api import plot
from mnistctl.api.training import followers, loop, run_settings
from mnistctl.api.training import resume as resuming
from mnistctl.api.training.run_settings import Start
from mnistctl.api.training.session import Session, open_session
from mnistctl.errors import UsageError
from mnistctl.models import checkpoint
from mnistctl.run import run_folder, tracking
from mnistctl.run.epoch import Epoch
from mnistctl.run.run_folder import Run
from mnistctl.settings import architectures, train_settings
from mnistctl.settings.train_settings import TrainSettings
from mnistctl.system import files, torchrun
from mnistctl.types import Result

_log = logging.getLogger(__name__)

MAX_SEEDS = 1_000  # of one command


@dataclass(frozen=True)
class TrainResult(Result):
    """A finished training run. The metrics are those of the saved model, of its best epoch."""

    run: str  # the run's folder
    recipe: str | None  # None: no recipe
    arch: str  # a built-in name, torchvision:NAME or FILE.py:CLASS
    dataset: str  # a name, or the absolute path of a folder
    device: str  # cpu, cuda:N or mps
    precision: str  # of the training steps: float32 or bf16
    seed: int  # of weights, batch order, augmentation and dropout
    epochs: int  # trained, the last one perhaps in part
    best_epoch: int  # counted from 1; its model was saved
    parameters: int  # of the net
    train_seconds: float  # of training, without start, calibration and plots
    total_seconds: float  # of the whole command
    train_loss: float  # mean cross-entropy in nats over the epoch, while the weights changed
    train_accuracy: float  # in [0, 1], over the epoch, while the weights changed
    validation_loss: float | None  # before calibration, in nats; None: no validation images
    calibrated_validation_loss: float | None  # after calibration, in nats; None: not calibrated
    validation_accuracy: float | None  # in [0, 1]; None: no validation images
    chance_accuracy: (
        float | None
    )  # of always predicting the most frequent class of the validation images; None for numbers
    plots: list[str]  # the files that were drawn
    processes: int  # that trained together
    threads: int  # of the CPU, per process


@dataclass(frozen=True)
class SeedsResult(Result):
    """Several runs that differ in the seed alone."""

    runs: list[TrainResult]  # one per seed
    mean_validation_accuracy: float | None  # in [0, 1]; None: no validation images
    std_validation_accuracy: float | None  # sample standard deviation; None: fewer than two values
    mean_train_seconds: float  # of training, per run


def train(
    arch: str | None = None,
    *,
    recipe: str | None = None,
    config: Path | str | None = None,
    dataset: str | None = None,
    init: str | Path | None = None,
    resume: str | Path | None = None,
    save_every: str | None = None,
    name: str | None = None,
    plots: bool | Path = True,
    track: str | None = None,
    data_dir: Path | None = None,
    **settings: Any,
) -> TrainResult:
    """Train a net by a recipe; any setting can be overridden.

    The metrics of every epoch are logged. To see them in a notebook or a script, call
    `logging.basicConfig(level=logging.INFO)` first.

    Under torchrun every process calls this with the same arguments and gets the same result. Only the
    leader writes files and shows progress.

    Args:
        arch: a name in `architectures.ARCHITECTURES`, `torchvision:NAME`, or `FILE.py:CLASS` for a
            custom architecture, whose file is executed; None: that of the recipe or of `init`, or cnn.
        recipe: the name of a recipe; None: the architecture's own.
        config: a settings file, TOML or the `config.json` of a run; the other arguments override it.
        dataset: a name in `datasets.catalog.DATASETS`, or a folder with one sub-folder of pictures per
            class, or, to adapt a detector of digits, with `labels.csv` and pictures of numbers; None:
            MNIST, or the bundled digits if MNIST cannot be downloaded.
        init: a model to start from: a checkpoint, a run folder or a run's name. If its classes are not
            those of the dataset, the output layer is initialised again.
        resume: a run to resume, its folder or its name. The result is the same, bit for bit, as without
            the interruption. Only its length (`epochs`) and its device may be changed.
        save_every: how often to save the state within an epoch: "200steps", "30s", "5m"; None: every
            minute.
        name: of the run's folder in `runs`; None: the first free one.
        plots: whether to draw plots into the run's folder, or the folder to draw them into.
        track: "tensorboard", "mlflow" or "wandb", or several separated by commas: also log settings,
            metrics, plots and the model to this tracker. TensorBoard and offline W&B write to the run's
            folder, MLflow to MLFLOW_TRACKING_URI or to its own default.
        data_dir: the data folder; None: the default.
        settings: any field of `TrainSettings` (`epochs`, `seed`, `optimizer`, `rotate`, …), and any
            argument of a built-in net (`hidden`, `dropout`, …). `arch_args` is a dictionary with
            arguments of any net, a custom one too.

    Raises:
        UsageError: a value is wrong, the device is unavailable, the run exists, another process is
            training it, or an option contradicts the run to resume.
        DataError: the dataset is damaged or unavailable.
        MissingExtraError: the package that `track` needs is not installed.
        DivergedError: the loss is no longer finite; the best model so far is saved.
        LostProcessError: another process of a distributed run has ended.
        InterruptedRunError: Ctrl-C, SIGTERM or SIGHUP; the run can be resumed.
        WriteError: a file cannot be written, for example on a full disk; the run can be resumed.
    """
    started = time.perf_counter()
    if not torchrun.is_leader():
        return followers.follow(data_dir).read_result(TrainResult)
    loop.parse_interval(save_every)
    tracking.check(track)
    plot.check_folder(plots)
    options = {"arch": arch, "recipe": recipe, "dataset": dataset, "init": init, **settings}
    with _open_start(config, options, resume=resume, name=name) as start:
        if start.run is not None and start.is_finished:
            return _finished_result(start.run)
        with open_session(
            start, name=name, track=track, save_every=save_every, data_dir=data_dir
        ) as session:
            event = followers.RESUMED if start.saved else followers.STARTED
            followers.announce(session.run, event, data_sha256=session.train.all_sha256)
            return _finish(session, plots, started)


def train_folder(
    folder: Path,
    settings: TrainSettings,
    *,
    data_dir: Path | None = None,
    after_epoch: Callable[[Epoch], None] | None = None,
    is_calibrated: bool = True,
) -> TrainResult:
    """Train a run with these settings in this folder, or resume the one that is there.

    Args:
        folder: of the run.
        settings: all of them.
        data_dir: the data folder; None: the default.
        after_epoch: called after each epoch but the last, and with the last epoch of a run that is
            resumed. An exception that it raises ends the run, whose state is saved.
        is_calibrated: whether the model is calibrated after training.

    Raises:
        UsageError: the folder holds a run with other settings, or as for `train`.
        MnistctlError: see `train`.
    """
    started = time.perf_counter()
    run = Run(folder)
    with contextlib.ExitStack() as stack:
        if run.config_path.is_file():
            if run.read_settings() != settings:
                raise UsageError(f"{folder}: a run with other settings; move it elsewhere or delete it")
            start = stack.enter_context(resuming.open_run(folder, {"arch": settings.arch}))
            if start.is_finished:
                return run.read_result(TrainResult)
        else:
            start = Start(settings, run_settings.reopen_initial_model(settings, is_resumed=False))
        session = stack.enter_context(
            open_session(
                start,
                name=folder.name,
                track=None,
                save_every=None,
                data_dir=data_dir,
                root=folder.parent,
                after_epoch=after_epoch,
                is_calibrated=is_calibrated,
            )
        )
        return _finish(session, False, started)


def train_seeds(
    seeds: int, arch: str | None = None, *, name: str | None = None, **options: Any
) -> SeedsResult:
    """Train several runs that differ in the seed alone: the given one and those that follow it.

    Args:
        seeds: the number of runs, 1 to 1,000.
        arch: see `train`.
        name: the runs are called `<name>-seed<seed>`; None: the first free names.
        options: see `train`.

    Raises:
        UsageError: `seeds` is out of range, `plots` is a folder, or as for `train`.
    """
    if not 1 <= seeds <= MAX_SEEDS:
        raise UsageError(f"--seeds {seeds}: expected from 1 to {MAX_SEEDS:,}")
    if not isinstance(options.get("plots", True), bool):  # the runs would overwrite each other's plots
        raise UsageError("--seeds cannot be combined with --plots DIR")
    start = run_settings.resolve(options.get("config"), {"seed": options.pop("seed", None)})
    numbers = range(start.settings.seed, start.settings.seed + seeds)
    train_settings.check({"seed": numbers[-1]})
    names = {number: None if name is None else f"{name}-seed{number}" for number in numbers}
    for run_name in names.values():
        if run_name is not None and torchrun.is_leader():
            run_folder.check_new(run_name)
    results = []
    for number, run_name in names.items():
        result = train(arch, seed=number, name=run_name, **options)
        accuracy = result.validation_accuracy
        shown = "" if accuracy is None else f", validation accuracy {100 * accuracy:.2f}%"
        _log.info(f"seed {number}: {result.run}{shown}")  # at once: the next run may fail
        results.append(result)
    accuracies = [
        result.validation_accuracy for result in results if result.validation_accuracy is not None
    ]
    return SeedsResult(
        runs=results,
        mean_validation_accuracy=statistics.fmean(accuracies) if accuracies else None,
        std_validation_accuracy=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        mean_train_seconds=statistics.fmean(result.train_seconds for result in results),
    )


@contextlib.contextmanager
def _open_start(
    config: Path | str | None,
    options: dict[str, Any],
    *,
    resume: str | Path | None,
    name: str | None,
) -> Iterator[Start]:
    """What to train: a new run, or the run to resume, locked."""
    if resume is not None:
        if name is not None or config is not None:
            raise UsageError("--resume: cannot be combined with --name or --config")
        with resuming.open_run(resume, options) as start:
            yield start
        return
    start = run_settings.resolve(config, options)
    if name is not None:
        run_folder.check_new(name)
    newest = run_folder.newest()
    if newest is not None and newest.is_interrupted():
        _log.info(f"{newest.folder} was interrupted; resume it with: {newest.resume_command}")
    yield start


def _finish(session: Session, plots: bool | Path, started: float) -> TrainResult:
    """Train to the end, draw the plots, and write the result."""
    last, best = loop.fit(session)
    plot_files = _draw(session, plots)
    session.tracker.finish(session.run.model_path, plot_files)
    result = _result(session, last, best, plot_files, time.perf_counter() - started)
    files.write_json(session.run.result_path, result.to_json())
    session.group.broadcast()  # the followers may end now
    return result


def _draw(session: Session, plots: bool | Path) -> list[Path]:
    """Draw the plots of a run that was trained, as the user asked."""
    if not plots:
        return []
    predictor = plot.open_model(session.run.model_path, arch=session.settings.arch)
    folder = session.run.folder if plots is True else plots
    return plot.draw_run(session.run, predictor, session.validation, folder=folder)


def _result(
    session: Session, last: Epoch, best: Epoch, plot_files: list[Path], total_seconds: float
) -> TrainResult:
    import torch

    from mnistctl.nn import devices, nets

    settings = session.settings
    is_digit = architectures.task_of(settings.arch) == architectures.DIGIT
    metrics = checkpoint.load(session.run.model_path).metadata.metrics
    return TrainResult(
        run=str(session.run.folder),
        recipe=settings.recipe,
        arch=settings.arch,
        dataset=settings.dataset,
        device=str(session.device),
        precision=devices.resolve_precision(settings.precision, session.device),
        seed=settings.seed,
        epochs=last.epoch,
        best_epoch=best.epoch,
        parameters=nets.count_parameters(session.net),
        train_seconds=last.train_seconds,
        total_seconds=total_seconds,
        train_loss=best.train_loss,
        train_accuracy=best.train_accuracy,
        validation_loss=best.validation_loss,
        calibrated_validation_loss=metrics.get("calibrated_validation_loss"),
        validation_accuracy=best.validation_accuracy,
        chance_accuracy=session.validation.largest_share() if is_digit else None,
        plots=[str(path) for path in plot_files],
        processes=session.group.count,
        threads=torch.get_num_threads(),
    )


def _finished_result(run: Run) -> TrainResult:
    """The result of a run that has nothing left to train."""
    result = run.read_result(TrainResult)
    _log.info(f"{run.folder} is finished ({result.epochs} epochs); to train on, add --epochs N")
    followers.announce(run, followers.FINISHED)
    return result
