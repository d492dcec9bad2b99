"""A training run on its way: epochs, the best model, where it has come to, and its end."""

import dataclasses
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnistctl import datasets
from mnistctl.api.training import resume
from mnistctl.errors import DivergedError, InterruptedRunError, LostProcessError, WriteError
from mnistctl.models import checkpoint
from mnistctl.models.metadata import Metadata
from mnistctl.run import progress, run_folder, tracking
from mnistctl.run.epoch import Epoch
from mnistctl.settings import architectures
from mnistctl.settings.train_settings import TrainSettings
from mnistctl.system import provenance, signals

if TYPE_CHECKING:
    import torch

    from mnistctl.nn import distributed, training_state

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A run on its way."""

    run: run_folder.Run
    config: TrainSettings
    train: datasets.Split
    validation: datasets.Split
    device: "torch.device"
    group: "distributed.Group"  # whose first process alone writes and shows
    interrupt: signals.Interrupt
    tracker: tracking.Tracker
    save_every: str | None = None  # see `resuming.interval`
    saved: resume.Saved | None = None  # where to go on from

    def is_told_to_stop(self) -> bool:
        """Whether this process was, or any other of the group, which all ask this together."""
        return self.group.any(self.interrupt.signal is not None)


def fit(net: "torch.nn.Module", job: Job) -> tuple[Epoch, Epoch]:
    """Train and keep the best model: the last epoch, and the saved one.

    All processes of a group do the same, and so come to the same; the first one writes it down.
    """
    from mnistctl.nn import classifier, torch_predictor, trainer

    config, run = job.config, job.run
    leads = job.group.rank == 0
    about = Metadata(
        arch=config.arch,
        arch_args=dict(config.arch_args),
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        dataset={"name": job.train.dataset, "sha256": job.train.sha256},
        class_names=list(job.train.class_names),
        config=config.to_json(),
        metrics={},
        versions=provenance.versions(),
        created=provenance.now(),
        git_commit=provenance.git_commit(),
    )
    batch_size, _, steps = trainer.plan_steps(config, len(job.train.images))
    progress.current().training(steps * batch_size)
    standing = resume.standing_of(job.saved, config)
    surroundings = resume.surroundings(job.device)
    last, kept = None, standing.best

    def write(state: "training_state.State") -> None:
        resume.save(
            run,
            state,
            standing,
            config=config,
            data_sha256=job.train.sha256,
            surroundings=surroundings,
        )

    saver = resume.Saver(job.save_every, write)

    def on_step(images: int, state: Callable[[], "training_state.State"]) -> bool:
        progress.current().step(images)
        is_told = job.is_told_to_stop()
        if leads:
            saver.step(state, at_once=is_told)
        return is_told

    epochs = trainer.fit(
        net,
        config,
        job.train,
        job.validation,
        device=job.device,
        group=job.group,
        start=job.saved.state if job.saved else None,
        on_step=on_step,
    )
    try:
        for epoch, measured, state in () if _is_enough(job.saved, standing, config) else epochs:
            last = epoch
            _require_finite(epoch, measured, standing, run)
            is_best = epoch.is_better_than(standing.best)
            # An epoch cut short comes again, whole: its model is kept only where there is no other.
            is_cut = not epoch.finished and epoch.steps < steps
            if is_best and not is_cut:
                standing = standing.after(epoch)
            if standing.best is None or standing.best is epoch:
                kept = epoch
            if leads:
                run.append_metrics(epoch)
                job.tracker.epoch(epoch)
                if kept is epoch:
                    metadata = dataclasses.replace(
                        about, metrics=epoch.to_json(), created=provenance.now()
                    )
                    reader = classifier.Classifier(measured)
                    checkpoint.save(run.model_path, torch_predictor.state_of(reader), metadata)
                progress.current().epoch(epoch, best=kept is epoch)
                saver.save(state)
            if config.patience and epoch.epoch - standing.gained >= config.patience:
                _log.info(f"no better epoch for {config.patience}: stopped early")
                break
        assert kept is not None  # noqa: S101 - a run has a step or more, so an epoch
        if not job.is_told_to_stop() and leads:
            _complete(job, last or run.read_metrics()[-1])
    except (WriteError, LostProcessError) as error:
        way_out = "make room, then " if isinstance(error, WriteError) else ""
        raise type(error)(
            f"{error}; what was saved before is safe; {way_out}go on with: "
            f"mnistctl train --resume {run.folder.name}"
        ) from error
    return last or run.read_metrics()[-1], kept


def _is_enough(saved: resume.Saved | None, standing: resume.Standing, config: TrainSettings) -> bool:
    """Whether a run that goes on had lost its patience already."""
    if saved is None or not config.patience:
        return False
    return saved.state.epoch - standing.gained >= config.patience


def _require_finite(
    epoch: Epoch, measured: "torch.nn.Module", standing: resume.Standing, run: run_folder.Run
) -> None:
    weights = measured.state_dict().values()
    if math.isfinite(epoch.train_loss + (epoch.validation_loss or 0)) and all(
        bool(tensor.isfinite().all()) for tensor in weights
    ):
        return
    kept = f"the best model so far is in {run.model_path}" if standing.best else "nothing was saved"
    raise DivergedError(
        f"diverged in epoch {epoch.epoch}, by step {epoch.steps}, at a learning rate of "
        f"{epoch.learning_rate:.2g}: the loss or the weights are not finite; {kept}; try a lower "
        "--learning-rate"
    )


def _complete(job: Job, last: Epoch) -> None:
    """Give the saved model what it needs to be honest: its temperature, its `familiarity`, its threshold."""
    from mnistctl.nn import calibration, torch_predictor

    path = job.run.model_path
    own = job.config.arch if architectures.custom_source(job.config.arch) else None
    saved = torch_predictor.from_checkpoint(checkpoint.load(path), device=job.device, arch=own)
    _log.info(f"calibrating on {len(job.validation.images):,} validation images")
    seen = last.steps * min(job.config.batch_size, len(job.train.images))
    reader, metadata = calibration.complete(
        saved.reader.get_submodule("net"), saved.metadata, job.train, job.validation, images_seen=seen
    )
    checkpoint.save(path, torch_predictor.state_of(reader), metadata)


def interrupted(
    run: run_folder.Run, last: Epoch, best: Epoch, interrupt: signals.Interrupt
) -> InterruptedRunError:
    """The error that ends a run after Ctrl-C or SIGTERM, when all is saved."""
    return InterruptedRunError(
        f"interrupted in epoch {last.epoch}; the best model so far (epoch {best.epoch}) is "
        f"safe in {run.model_path}; go on with: mnistctl train --resume {run.folder.name}",
        exit_code=interrupt.exit_code,
    )
