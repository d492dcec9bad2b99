"""The trainer: one plain loop for every net, dataset and device.

A step depends on the settings, the data, the training state and its own number, and on nothing else.
Batch order, augmentation and dropout are drawn from the seed, the epoch and the step. So a run that is
resumed from a saved state gives the same weights as a run that was never interrupted, bit for bit on
the same device and versions.
"""

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mnistctl.datasets import Split
from mnistctl.errors import UsageError
from mnistctl.nn import cuda_graphs, devices, distributed, optimizers, tasks
from mnistctl.nn.batches import derive_seed
from mnistctl.nn.tasks import Task
from mnistctl.nn.training_state import Learner, TrainingState
from mnistctl.run.epoch import Epoch
from mnistctl.settings.train_settings import TrainSettings


class StepPlan(NamedTuple):
    """How a run is divided into steps."""

    batch_size: int  # images per step
    steps_per_epoch: int
    steps: int  # of the whole run


def plan_steps(settings: TrainSettings, images: int, *, processes: int = 1) -> StepPlan:
    """Divide a run into steps. An incomplete last batch is dropped.

    Args:
        settings: of the run.
        images: the number of training images, at least 1.
        processes: the number of processes that train together.

    Raises:
        UsageError: a batch has fewer images than there are processes.
    """
    batch_size = min(settings.batch_size, images)
    if batch_size < processes:
        if images < processes:
            raise UsageError(f"{images} training images: too few for {processes} processes")
        raise UsageError(
            f"--batch-size {batch_size}: too small for {processes} processes; use at least {processes}"
        )
    steps_per_epoch = images // batch_size
    steps = max(settings.min_steps, math.ceil(settings.epochs * steps_per_epoch))
    return StepPlan(batch_size, steps_per_epoch, steps)


class Trainer:
    """Trains a net in place.

    Args:
        net: takes normalised images; on `device`.
        settings: of the run.
        train: at least one image.
        validation: may be empty.
        device: where to train.
        group: the processes that train together, each with the same arguments.
        use_graph: whether a single process on a CUDA device may replay its steps as a CUDA graph.
        state: where to resume, in a run with the same settings; None: start at step 0.

    Raises:
        UsageError: a batch has fewer images than there are processes.
        LostProcessError: another process of the group has ended.
    """

    def __init__(
        self,
        net: nn.Module,
        settings: TrainSettings,
        train: Split,
        validation: Split,
        *,
        device: torch.device,
        group: distributed.ProcessGroup = distributed.SINGLE_PROCESS,
        use_graph: bool = True,
        state: TrainingState | None = None,
    ) -> None:
        if device.type == "cpu":
            devices.keep_freed_memory()
        self.plan = plan_steps(settings, len(train.images), processes=group.count)
        self.steps_done = 0
        self._settings, self._device, self._group = settings, device, group
        group.prepare(net)
        optimizer = optimizers.build(net.parameters(), settings, device=device)
        self._learner = Learner(
            net,
            optimizer,
            average=optimizers.average(net, settings.ema) if settings.ema else None,
            loss_sum=torch.zeros((), device=device),
            correct=torch.zeros((), dtype=torch.int64, device=device),
            answers=torch.zeros((), dtype=torch.int64, device=device),
        )
        self._schedule = optimizers.schedule(
            optimizer, settings, steps=self.plan.steps, steps_per_epoch=self.plan.steps_per_epoch
        )
        self.task = tasks.build(settings, train, validation, device=device, group=group)
        is_graphed = (
            use_graph and device.type == "cuda" and group.count == 1 and self.task.can_be_graphed
        )
        self._step = self._build_step(is_graphed=is_graphed)
        _synchronize(device)
        self._started = time.perf_counter()
        if state is not None:
            state.restore(self._learner)
            optimizers.replay(self._schedule, state.steps)
            self.steps_done = state.steps
            self._started -= state.train_seconds

    @property
    def model(self) -> nn.Module:
        """The net to evaluate and save: the weight average if `ema` is set."""
        average = self._learner.average
        return self._learner.net if average is None else average.module

    @property
    def is_epoch_complete(self) -> bool:
        """Whether the last step completed an epoch, or the run."""
        return not self.steps_done % self.plan.steps_per_epoch or self.steps_done == self.plan.steps

    @property
    def is_graphed(self) -> bool:
        """Whether the steps are replayed as a CUDA graph, which starts after a few steps."""
        return isinstance(self._step, cuda_graphs.GraphedStep) and self._step.is_recorded

    def run(self) -> Generator[int, None, None]:
        """Train to the end of the plan; after each step, yield the number of steps done.

        Between two steps the caller may use the other methods, or stop early by breaking out of
        the loop.

        Raises:
            UsageError: the net has batch normalisation, and a batch has a single image.
            LostProcessError: another process of the group has ended.
        """
        device, group, plan = self._device, self._group, self.plan
        self._learner.net.train()
        batches = self.task.batches(
            batch_size=plan.batch_size, steps_per_epoch=plan.steps_per_epoch, step=self.steps_done
        )
        with (
            contextlib.closing(batches),
            devices.fork_rng(device),
            torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
        ):
            for batch in itertools.islice(batches, plan.steps - self.steps_done):
                epoch, step_in_epoch = divmod(self.steps_done, plan.steps_per_epoch)
                if step_in_epoch == 0:
                    self._learner.reset_metrics()
                seed = derive_seed(self._settings.seed, epoch, self.steps_done + 1)
                devices.seed(device, seed)
                if group.count == 1:
                    self._step(*batch)
                else:  # each process has dropout masks of its own
                    self._step(*batch, dropout_seed=derive_seed(seed, group.rank))
                self._schedule.step()
                self.steps_done += 1
                yield self.steps_done

    def measure(self) -> Epoch:
        """Metrics of the current epoch, even if it is incomplete. Runs validation.

        Raises:
            LostProcessError: another process of the group has ended.
        """
        epoch, last_step = divmod(self.steps_done - 1, self.plan.steps_per_epoch)
        steps = last_step + 1
        _synchronize(self._device)
        train_seconds = self._train_seconds()
        validation_loss, validation_accuracy = self.task.evaluate(self.model)
        self._learner.net.train()
        return Epoch(
            epoch=epoch + 1,
            steps=self.steps_done,
            train_loss=self._learner.loss_sum.item() / steps,
            train_accuracy=self._learner.correct.item() / max(self._learner.answers.item(), 1),
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            learning_rate=float(self._learner.optimizer.param_groups[0]["lr"]),
            train_seconds=train_seconds,
            finished=steps == self.plan.steps_per_epoch,
        )

    def state(self) -> TrainingState:
        """A copy of the training state."""
        return TrainingState.capture(
            self._learner, steps=self.steps_done, train_seconds=self._train_seconds()
        )

    def _train_seconds(self) -> float:
        return time.perf_counter() - self._started

    def _build_step(self, *, is_graphed: bool) -> Callable[..., None]:
        step = TrainStep(self._learner, self.task, self._settings, self._group)
        if is_graphed:
            return cuda_graphs.GraphedStep(step, self._device, self._learner.tensors)
        return step


@dataclass(frozen=True)
class TrainStep:
    """One step: a batch forward and backward, the optimizer, the average, the metrics.

    Random numbers come from the device's global generator, which the caller seeds. Tensors are changed
    in place and keep their memory, so that a CUDA graph can hold the step.
    """

    learner: Learner
    task: Task
    settings: TrainSettings
    group: distributed.ProcessGroup

    def __call__(self, *batch: Tensor, dropout_seed: int | None = None) -> None:
        """Train on this process's share of a batch.

        Args:
            batch: one of the task's batches.
            dropout_seed: seeds the generator before the net draws dropout masks; None: do not seed it.

        Raises:
            UsageError: the net has batch normalisation, and the batch has a single image.
            LostProcessError: another process of the group has ended.
        """
        learner = self.learner
        learner.optimizer.zero_grad()
        objective, *sums = self.task.loss(learner.net, *batch, dropout_seed=dropout_seed)
        objective.backward()
        self.group.all_reduce([*optimizers.gradients(learner.net), *sums])
        optimizers.clip(learner.net.parameters(), self.settings.clip_norm)
        learner.optimizer.step()
        if learner.average is not None:
            learner.average.update_parameters(learner.net)
        for total, value in zip(
            (learner.loss_sum, learner.correct, learner.answers), sums, strict=True
        ):
            total.add_(value)


def _synchronize(device: torch.device) -> None:
    """Wait for the device to finish its work, before the clock is read."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
