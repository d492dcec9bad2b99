"""The trainer: one plain loop for every net, dataset and device.

A step depends on the settings, the data, the training state and its own number, and on nothing else.
Batch order, augmentation and dropout are drawn from the seed, the epoch and the step. So a run that is
resumed from a saved state gives the same weights as a run that was never interrupted, bit for bit on
the same device and versions.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnistctl.datasets import Split
from mnistctl.errors import UsageError
from mnistctl.nn import augment, batches, cuda_graphs, devices, distributed, nets, optimizers
from mnistctl.nn.training_state import Learner, TrainingState
from mnistctl.run.epoch import Epoch
from mnistctl.settings.train_settings import TrainSettings

_EVALUATION_BATCH = 500  # images; fits into a CPU's cache


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
        )
        self._schedule = optimizers.schedule(
            optimizer, settings, steps=self.plan.steps, steps_per_epoch=self.plan.steps_per_epoch
        )
        self._images, self._labels = _to_device(train, device)
        self._use_graph = use_graph and device.type == "cuda" and group.count == 1
        self._step = self._build_step()
        self._validation = _to_device(validation, device)
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

    def run(self) -> Iterator[int]:
        """Train to the end of the plan; after each step, yield the number of steps done.

        Between two steps the caller may use the other methods, or stop early by breaking out of
        the loop.

        Raises:
            UsageError: the net has batch normalisation, and a batch has a single image.
            LostProcessError: another process of the group has ended.
        """
        settings, device, group = self._settings, self._device, self._group
        self._learner.net.train()
        with (
            devices.fork_rng(device),
            torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
        ):
            while self.steps_done < self.plan.steps:
                epoch, step_in_epoch = divmod(self.steps_done, self.plan.steps_per_epoch)
                if step_in_epoch == 0:
                    self._learner.reset_metrics()
                order = batches.draw_order(
                    len(self._images), self.plan.batch_size, seed=settings.seed, epoch=epoch
                )
                steps_left = self.plan.steps - self.steps_done
                for rows in order[step_in_epoch:][:steps_left].to(device):
                    seed = batches.derive_seed(settings.seed, epoch, self.steps_done + 1)
                    devices.seed(device, seed)
                    if group.count == 1:
                        self._step(rows)
                    else:  # each process has dropout masks of its own
                        self._step(rows, dropout_seed=batches.derive_seed(seed, group.rank))
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
        validation_loss, validation_accuracy = _evaluate(self.model, *self._validation, self._group)
        self._learner.net.train()
        return Epoch(
            epoch=epoch + 1,
            steps=self.steps_done,
            train_loss=self._learner.loss_sum.item() / steps,
            train_accuracy=self._learner.correct.item() / (steps * self.plan.batch_size),
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

    def _build_step(self) -> Callable[..., None]:
        step = TrainStep(
            self._learner,
            self._images,
            self._labels,
            self._settings,
            group=self._group,
            precision=devices.resolve_precision(self._settings.precision, self._device),
        )
        if self._use_graph:
            return cuda_graphs.GraphedStep(step, self._device, self._learner.tensors)
        return step


@dataclass(frozen=True)
class TrainStep:
    """One step: a batch forward and backward, the optimizer, the average, the metrics.

    Random numbers come from the device's global generator, which the caller seeds. Tensors are changed
    in place and keep their memory, so that a CUDA graph can hold the step.
    """

    learner: Learner
    images: Tensor  # uint8 (N, 28, 28)
    labels: Tensor  # int64 (N,)
    settings: TrainSettings
    group: distributed.ProcessGroup
    precision: str

    def __call__(self, rows: Tensor, *, dropout_seed: int | None = None) -> None:
        """Train on this process's shard of a batch.

        Args:
            rows: the images of the whole batch, int64 (batch_size,), on the device.
            dropout_seed: seeds the generator before the net draws dropout masks; None: do not seed it.

        Raises:
            UsageError: the net has batch normalisation, and the batch has a single image.
            LostProcessError: another process of the group has ended.
        """
        learner, settings, device = self.learner, self.settings, rows.device
        learner.optimizer.zero_grad()
        shard = self.group.shard(len(rows))
        # Drawn for the whole batch, so that the number of processes does not change the augmentation.
        parameters = augment.draw_parameters(len(rows), settings, device).select(shard)
        if dropout_seed is not None:
            devices.seed(device, dropout_seed)
        labels = self.labels[rows[shard]]
        images = self.images.index_select(0, rows[shard])  # several times faster than images[rows]
        pixels = augment.apply(nets.scale_pixels(images), settings, parameters)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == devices.BF16):
            logits = _forward(learner.net, nets.normalise(pixels))
        logits = logits.float()
        shard_fraction = len(labels) / len(rows)
        loss = F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
        (loss * shard_fraction).backward()
        with torch.no_grad():
            batch_loss = F.cross_entropy(logits, labels) * shard_fraction
            correct = (logits.argmax(dim=1) == labels).sum()
        self.group.all_reduce([*optimizers.gradients(learner.net), batch_loss, correct])
        optimizers.clip(learner.net.parameters(), settings.clip_norm)
        learner.optimizer.step()
        if learner.average is not None:
            learner.average.update_parameters(learner.net)
        learner.loss_sum.add_(batch_loss)
        learner.correct.add_(correct)


def _forward(net: nn.Module, images: Tensor) -> Tensor:
    """Logits of a net in training."""
    try:
        logits: Tensor = net(images)
    except ValueError as error:
        # PyTorch has no class of its own for this error.
        if len(images) > 1 or "more than 1 value per channel" not in str(error):
            raise
        raise UsageError(
            "--batch-size 1: the net has batch normalisation, which needs at least 2 images"
        ) from error
    return logits


@torch.no_grad()
def _evaluate(
    net: nn.Module, images: Tensor, labels: Tensor, group: distributed.ProcessGroup
) -> tuple[float | None, float | None]:
    """Loss and accuracy of a net; None for both without images."""
    count = len(images)
    if not count:
        return None, None
    net.eval()
    shard = group.shard(count)
    loss, correct = torch.zeros((), device=images.device), torch.zeros((), device=images.device)
    parts = zip(
        images[shard].split(_EVALUATION_BATCH), labels[shard].split(_EVALUATION_BATCH), strict=True
    )
    for part, part_labels in parts:
        if len(part):  # empty where there are fewer images than processes
            logits = net(nets.normalise(nets.scale_pixels(part)))
            loss += F.cross_entropy(logits, part_labels, reduction="sum")
            correct += (logits.argmax(dim=1) == part_labels).sum()
    group.all_reduce([loss, correct])
    return loss.item() / count, correct.item() / count


def _to_device(split: Split, device: torch.device) -> tuple[Tensor, Tensor]:
    """The images, uint8 (N, 28, 28), and labels, int64 (N,): a split fits into any device's memory."""
    return torch.from_numpy(split.images).to(device), torch.from_numpy(split.labels).to(device)


def _synchronize(device: torch.device) -> None:
    """Wait for the device to finish its work, before the clock is read."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
