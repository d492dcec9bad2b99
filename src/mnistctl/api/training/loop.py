"""The training loop of a session: steps, epochs, the best model, the saved state, the calibration."""

import contextlib
import dataclasses
import logging
import math
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from mnistctl.api.training import state_file
from mnistctl.api.training.session import Session
from mnistctl.api.training.state_file import BestEpoch, SavedState
from mnistctl.errors import (
    DivergedError,
    InterruptedRunError,
    LostProcessError,
    UsageError,
    WriteError,
)
from mnistctl.models import checkpoint
from mnistctl.models.metadata import Metadata
from mnistctl.run import progress
from mnistctl.run.epoch import Epoch
from mnistctl.run.run_folder import Run
from mnistctl.settings import architectures
from mnistctl.system import provenance

if TYPE_CHECKING:
    import torch

    from mnistctl.nn.tasks import Task
    from mnistctl.nn.trainer import StepPlan, Trainer

_log = logging.getLogger(__name__)

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def fit(session: Session) -> tuple[Epoch, Epoch]:
    """Train, keep the best model, and calibrate it.

    Every process in the group calls this and gets the same result. Only the leader writes files and
    shows progress.

    Returns:
        The last epoch, and the epoch of the saved model.

    Raises:
        DivergedError: the loss or the weights are no longer finite.
        InterruptedRunError: a signal has stopped the run, and its state is saved.
        LostProcessError: another process of the group has ended.
        UsageError: the net cannot be trained with batches of this size.
        WriteError: a file cannot be written.
    """
    from mnistctl.nn.trainer import Trainer

    with _advice_to_resume(session.run):
        trainer = Trainer(
            session.net,
            session.settings,
            session.train,
            session.validation,
            device=session.device,
            group=session.group,
            use_graph=session.use_graph,
            state=session.saved.state if session.saved else None,
        )
        plan = trainer.plan
        epochs = math.ceil(plan.steps / plan.steps_per_epoch)
        progress.current().training(plan.steps * plan.batch_size, epochs)
        writer = RunWriter(session, plan, trainer.task)
        if trainer.steps_done == plan.steps or writer.is_patience_over():
            # The run was interrupted after its last step, so only the calibration is left.
            writer.record_again(trainer.measure(), trainer.model)
        else:
            _train(session, trainer, writer)
        progress.current().trained()
        last, best = writer.results()
        if session.is_calibrated and not session.should_stop() and session.is_leader:
            _calibrate(session, trainer.task, images_seen=last.steps * plan.batch_size)
    # No process may end before the leader has saved: torchrun would stop the others.
    if session.should_stop():
        raise InterruptedRunError(
            f"interrupted in epoch {last.epoch}; the best model so far (epoch {best.epoch}) is in "
            f"{session.run.model_path}; resume with: {session.run.resume_command}",
            exit_code=session.interrupt.exit_code,
        )
    return last, best


def _train(session: Session, trainer: "Trainer", writer: "RunWriter") -> None:
    """Run the steps that are left, until a signal or the patience ends them."""
    if session.after_epoch is not None and trainer.steps_done >= trainer.plan.steps_per_epoch:
        session.after_epoch(session.run.read_metrics()[-1])  # perhaps not done before the interruption
    for step in trainer.run():
        progress.current().step(step * trainer.plan.batch_size)
        should_stop = session.should_stop()
        if trainer.is_epoch_complete:
            epoch = trainer.measure()
            writer.record(epoch, trainer.model)
            writer.save_state(trainer)
            if session.after_epoch is not None and step < trainer.plan.steps:
                session.after_epoch(epoch)
        elif should_stop:
            writer.save_state(trainer)  # first, since a scheduler may not wait for long
            writer.record(trainer.measure(), trainer.model)
        elif writer.is_save_due(step):
            writer.save_state(trainer)
        if should_stop:
            return
        if writer.is_patience_over():
            _log.info(f"stopped early: no improvement within --patience {session.settings.patience}")
            return


class RunWriter:
    """Writes the files of a run: metrics, best model, state.

    In a process that is not the leader it only keeps track of the best epoch.
    """

    def __init__(self, session: Session, plan: "StepPlan", task: "Task") -> None:
        self._session, self._plan, self._task = session, plan, task
        self._interval = parse_interval(session.save_every)
        self._last_save = time.monotonic()
        self._environment = state_file.environment(session.device)
        self._last: Epoch | None = None
        self._epochs, self._best = 0, BestEpoch()
        saved = session.saved
        if saved is not None:
            self._epochs, self._best = saved.state.steps // plan.steps_per_epoch, saved.best
            if saved.total_steps != plan.steps:  # a new run length restarts the patience count
                self._best = dataclasses.replace(saved.best, last_gain=self._epochs)

    def results(self) -> tuple[Epoch, Epoch]:
        """The last epoch, and the epoch of the saved model."""
        assert self._last is not None  # noqa: S101 - a run has at least one step
        return self._last, self._best.epoch or self._last

    def is_patience_over(self) -> bool:
        """Whether the validation accuracy has not improved for `patience` epochs."""
        patience = self._session.settings.patience
        return bool(patience) and self._epochs - self._best.last_gain >= patience

    def record(self, epoch: Epoch, model: "torch.nn.Module") -> None:
        """Write an epoch's metrics, and its model if it is the best so far.

        Raises:
            DivergedError: the loss or the weights are not finite.
            WriteError: a file cannot be written.
        """
        session = self._session
        _check_finite(epoch, model, session.run)
        self._last, self._epochs = epoch, epoch.epoch
        # An interrupted epoch will be completed, so its model is kept only if there is no other.
        is_interrupted = not epoch.finished and epoch.steps < self._plan.steps
        if epoch.is_better_than(self._best.epoch) and not is_interrupted:
            self._best = self._best.update(epoch)
        is_best = self._best.epoch is None or self._best.epoch is epoch
        if session.is_leader:
            session.run.append_metrics(epoch)
            session.tracker.epoch(epoch)
            if is_best:
                self._save_model(epoch, model)
            progress.current().epoch(epoch, best=is_best)

    def record_again(self, epoch: Epoch, model: "torch.nn.Module") -> None:
        """Write the last epoch of a run once more; the result is the same."""
        if self._session.is_leader:
            self._session.run.truncate_metrics(epoch.epoch - 1)
        self.record(epoch, model)

    def is_save_due(self, step: int) -> bool:
        """Whether it is time to save the state within an epoch."""
        if self._interval.steps:
            return step % self._interval.steps == 0
        return time.monotonic() - self._last_save >= self._interval.seconds

    def save_state(self, trainer: "Trainer") -> None:
        """Save the training state, unless it has diverged.

        Raises:
            WriteError: the file cannot be written.
        """
        session = self._session
        if not session.is_leader:
            return
        state = trainer.state()
        if state.is_finite():
            saved = SavedState(
                state, self._best, self._plan.steps, session.train.all_sha256, self._environment
            )
            state_file.save(session.run, saved)
        self._last_save = time.monotonic()

    def _save_model(self, epoch: Epoch, model: "torch.nn.Module") -> None:
        from mnistctl.nn import nets, torch_predictor

        session = self._session
        metadata = Metadata(
            task=architectures.task_of(session.settings.arch),
            arch=session.settings.arch,
            arch_args=dict(session.settings.arch_args),
            parameters=nets.count_parameters(session.net),
            dataset={"name": session.train.dataset, "sha256": session.train.sha256},
            class_names=list(session.train.class_names),
            config=session.settings.to_json(),
            metrics=epoch.to_json(),
            versions=provenance.versions(),
            created=provenance.now(),
            git_commit=provenance.git_commit(),
        )
        arrays = torch_predictor.to_arrays(self._task.as_saved(model))
        checkpoint.save(session.run.model_path, arrays, metadata)


class Interval(NamedTuple):
    """How often the state is saved within an epoch."""

    steps: int  # 0: by time
    seconds: float


def parse_interval(text: str | None) -> Interval:
    """Parse "200steps", "30s", "5m" or "1h"; None: every minute.

    Raises:
        UsageError: the text cannot be parsed.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,8})(steps?|[smh])", "1m" if text is None else text)
    if match is None:
        raise UsageError(
            f"--save-every {text}: expected steps or a time, such as 200steps, 30s, 5m or 1h"
        )
    number, unit = int(match[1]), match[2]
    return Interval(number, 0.0) if unit.startswith("step") else Interval(0, number * _UNITS[unit])


def _check_finite(epoch: Epoch, model: "torch.nn.Module", run: Run) -> None:
    is_loss_finite = math.isfinite(epoch.train_loss + (epoch.validation_loss or 0))
    if is_loss_finite and all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values()):
        return
    path = run.model_path
    consequence = f"the best model so far is in {path}" if path.exists() else "no model was saved"
    raise DivergedError(
        f"diverged in epoch {epoch.epoch}, by step {epoch.steps}, at a learning rate of "
        f"{epoch.learning_rate:.2g}: the loss or the weights are not finite; {consequence}; try a "
        "lower --learning-rate"
    )


def _calibrate(session: Session, task: "Task", *, images_seen: int) -> None:
    """Add the temperature and the threshold to the saved model, with all that belongs to them."""
    path = session.run.model_path
    model = task.calibrate(checkpoint.load(path), images_seen=images_seen)
    checkpoint.save(path, model.tensors, model.metadata)


@contextlib.contextmanager
def _advice_to_resume(run: Run) -> Iterator[None]:
    """Append the resume command to an error that ends a run."""
    try:
        yield
    except (WriteError, LostProcessError) as error:
        advice = "free some space, then run" if isinstance(error, WriteError) else "resume with"
        state = "the saved state is intact; " if run.state_path.exists() else ""
        raise type(error)(f"{error}; {state}{advice}: {run.resume_command}") from error
