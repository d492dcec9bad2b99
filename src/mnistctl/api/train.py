"""`train`: from a recipe and what is given in its place to a run folder with a model."""

import contextlib
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mnistctl import datasets
from mnistctl.api import models, plot
from mnistctl.api.training import followers, preparing, run_settings, session
from mnistctl.api.training import resume as resuming
from mnistctl.errors import ModelError, UsageError
from mnistctl.models import checkpoint
from mnistctl.run import run_folder, tracking
from mnistctl.settings import architectures
from mnistctl.system import files, signals, torchrun

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """What a training run came to. The figures are those of the saved model.

    Losses are cross-entropies in nats, accuracies in [0, 1]; validation figures are None without
    validation images.
    """

    run: str
    recipe: str | None
    arch: str
    dataset: str
    device: str
    precision: str
    seed: int
    epochs: int  # begun
    best_epoch: int
    parameters: int
    train_seconds: float
    total_seconds: float
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    pictures: list[str]
    processes: int  # that trained together

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


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
    plots: bool = True,
    track: str | None = None,
    data_dir: Path | None = None,
    **settings: Any,
) -> TrainResult:
    """Train a net by a recipe, with what is given in its place.

    Under torchrun all processes call this with the same arguments and get the same result; the first
    one alone writes and shows progress.

    Args:
        arch: a name in `architectures.ARCHITECTURES`, `torchvision:NAME`, or `FILE.py:CLASS` for a
            class of your own, whose file is run; None: the recipe's, that of `init`, or cnn.
        recipe: a name in `recipe_table.RECIPES`; None: the architecture's own.
        config: a file of settings, TOML or the `config.json` of a run; what is given besides wins.
        dataset: a name in `datasets.catalog.DATASETS`, or a folder with one sub-folder of pictures a
            class; None: MNIST, or the embedded digits where it can neither be found nor downloaded.
        init: a model to start from: a checkpoint, a run folder or a run's name. Where its classes
            are not the dataset's, the layer that gives the logits starts afresh.
        resume: a run to go on with, its folder or its name, to the weights that it would have come to
            uninterrupted; only its length (`epochs`) and its device may be others than it began with.
        save_every: how often to save between epochs: "200steps", "30s", "5m"; None: each minute.
        name: of the run's folder in `runs`; None: one that is free.
        plots: whether to draw the run's pictures.
        track: "tensorboard" writes for TensorBoard besides, into the run's folder.
        data_dir: the data folder, if not the usual one.
        settings: any field of `config.TrainSettings` (`epochs`, `seed`, `optimizer`, `rotate`, …),
            and any argument of the net (`hidden`, `dropout`, …).

    Raises:
        UsageError: a value is wrong, the device is not there, the run exists, or is being trained by
            another process; or what goes on is not what was begun.
        DataError: the dataset is damaged, or was named and is not to be had.
        MissingExtraError: what `track` needs is not installed.
        DivergedError: the loss is not finite any more; the best model so far is saved.
        LostProcessError: of several processes that train together another one has ended.
        InterruptedRunError: Ctrl-C or SIGTERM; the best model so far is saved, and the run can go on.
        WriteError: the disk is full, say; what was saved before still stands, and the run can go on.
    """
    started = time.perf_counter()
    if not torchrun.is_leader():
        return _result_of(followers.follow(data_dir))
    options = {"arch": arch, "recipe": recipe, "dataset": dataset, "init": init, **settings}
    resuming.interval(save_every)
    tracking.check(track)
    if resume is not None and (name is not None or config is not None):
        raise UsageError("--resume: goes without --name and --config; the run has its own")
    with contextlib.ExitStack() as stack:
        run = saved = None
        if resume is None:
            chosen, opened, is_named = run_settings.choose(config, options)
            if is_named:
                chosen = chosen.replace(dataset=datasets.canonical(chosen.dataset))
            if name is not None:
                run_folder.check_new(name)
            _tell_of_interrupted()
        else:
            run = resuming.find(resume)
            stack.enter_context(run.locked())
            chosen, is_finished = resuming.config_of(run, options)
            if is_finished:
                done = _result_of(run)
                _log.info(f"{run.folder} is finished ({done.epochs} epochs); --epochs N goes on")
                followers.tell_others(run, followers.FINISHED)
                return done
            saved, is_named = resuming.load(run), True
            opened = None if saved else run_settings.open_begun(chosen)
        from mnistctl.nn import (  # torch, 1.2 s: after all that can be checked without
            devices,
            distributed,
        )

        place = devices.resolve(chosen.device)
        chosen, train_split, validation_split = preparing.training_data(chosen, is_named, data_dir)
        if chosen.patience and not len(validation_split.images):
            raise UsageError(f"--patience {chosen.patience}: there are no validation images to go by")
        group = distributed.join()
        interrupt = stack.enter_context(signals.deferred())
        net = preparing.build_net(chosen, opened, train_split.class_names).to(place)
        is_new = run is None
        if run is None:
            run = run_folder.create(name=name, dataset=chosen.dataset, arch=chosen.arch)
            stack.enter_context(run.locked())
        else:
            resuming.prepare(run, saved, chosen, train_split, place)
        files.write_json(run.config_path, chosen.to_json())
        followers.tell_others(
            run, followers.RESUMED if saved else followers.STARTED, data_sha256=train_split.sha256
        )
        try:
            tracker = stack.enter_context(tracking.open_tracker(track, run, chosen))
            job = session.Job(
                *(run, chosen, train_split, validation_split, place, group),
                *(interrupt, tracker),
                save_every=save_every,
                saved=saved,
            )
            last, best = session.fit(net, job)
        except UsageError:  # found in the first step; the name is free again
            if is_new:
                run.discard()
            raise
        # All is saved now: were one process to end before, torchrun would end the others.
        if job.is_told_to_stop():
            raise session.interrupted(run, last, best, interrupt)
        own = chosen.arch if architectures.custom_source(chosen.arch) else None
        metadata = checkpoint.load(run.model_path).metadata
        pictures: list[Path] = []
        if plots:
            predictor = models.open_predictor(run.model_path, arch=own)
            pictures = plot.draw_run(run, predictor, validation_split)
        result = TrainResult(
            run=str(run.folder),
            recipe=chosen.recipe,
            arch=chosen.arch,
            dataset=chosen.dataset,
            device=str(place),
            precision=devices.precision(chosen.precision, place),
            seed=chosen.seed,
            epochs=last.epoch,
            best_epoch=best.epoch,
            parameters=sum(parameter.numel() for parameter in net.parameters()),
            train_seconds=last.train_seconds,
            total_seconds=time.perf_counter() - started,
            train_loss=best.train_loss,
            train_accuracy=best.train_accuracy,
            validation_loss=metadata.metrics["validation_loss"],
            validation_accuracy=best.validation_accuracy,
            pictures=[str(picture) for picture in pictures],
            processes=group.count,
        )
        files.write_json(run.result_path, result.to_json())
        group.share()
    return result


def _result_of(run: run_folder.Run) -> TrainResult:
    """What a finished run came to."""
    try:
        return TrainResult(**run.read_result())
    except TypeError as error:
        raise ModelError(f"{run.result_path}: of another version of mnistctl") from error


def _tell_of_interrupted() -> None:
    """Say it when the newest run here was cut short: nobody need begin again."""
    run = run_folder.newest()
    if run is not None and run.is_cut_short():
        _log.info(
            f"{run.folder} was cut short; to go on with it: mnistctl train --resume {run.folder.name}"
        )
