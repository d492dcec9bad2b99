"""The trainer: one plain loop for every net, dataset and device."""

import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnistctl.datasets import Split
from mnistctl.errors import UsageError
from mnistctl.nn import (
    augment,
    batches,
    cuda_graphs,
    devices,
    distributed,
    nets,
    optimizers,
    training_state,
)
from mnistctl.nn.training_state import State
from mnistctl.run.epoch import Epoch
from mnistctl.settings.train_settings import TrainSettings

_EVALUATION_BATCH = 500  # small enough for a processor's cache


class EpochResult(NamedTuple):
    """An epoch that is over."""

    epoch: Epoch
    measured: nn.Module  # the one to keep: the net, or the average of its weights if the config has one
    state: Callable[[], State]  # where training has come to


def plan_steps(config: TrainSettings, images: int, *, processes: int = 1) -> tuple[int, int, int]:
    """How a run divides: (images a step, steps an epoch, steps in all).

    Raises:
        UsageError: a step has fewer images than there are processes.
    """
    batch_size = min(config.batch_size, images)
    if batch_size < processes:
        raise UsageError(f"--batch-size {batch_size}: fewer than the {processes} processes")
    steps_per_epoch = images // batch_size
    steps = max(config.min_steps, math.ceil(config.epochs * steps_per_epoch))
    return batch_size, steps_per_epoch, steps


def fit(
    net: nn.Module,
    config: TrainSettings,
    train: Split,
    validation: Split,
    *,
    device: torch.device,
    group: distributed.Group = distributed.SOLO,
    start: State | None = None,
    on_step: Callable[[int, Callable[[], State]], bool] = lambda images, state: False,
) -> Iterator[EpochResult]:
    """Train `net` in place, giving after each epoch what it came to, and the net that was measured.

    The caller may end the run early by asking no further.

    Args:
        net: takes normalised images; lies on `device`.
        config: what to do.
        train: at least one image.
        validation: may be empty.
        device: where to compute.
        group: the processes that do this together, all with the same arguments.
        start: where to go on from, of a run with this config; None: from the beginning.
        on_step: called after every step with the images seen in all, and what gives the state; True,
            in all processes alike, ends the run with the epoch begun.

    Raises:
        UsageError: the net has batch normalisation and cannot be trained on batches of one image, or
            a batch has fewer images than there are processes.
        LostProcessError: another process of the group has ended.
    """
    if device.type == "cpu":
        devices.keep_freed_memory()
    batch_size, steps_per_epoch, steps = plan_steps(config, len(train.images), processes=group.count)
    group.prepare(net)
    precision = devices.precision(config.precision, device)
    optimizer = optimizers.build(net.parameters(), config, device=device)
    schedule = optimizers.schedule(optimizer, config, steps=steps, steps_per_epoch=steps_per_epoch)
    average = optimizers.average(net, config.ema) if config.ema else None
    measured = net if average is None else average.module
    images, labels = _on_device(train, device)
    held_out = _on_device(validation, device)
    _wait(device)
    started = time.perf_counter()

    loss_sum = torch.zeros((), device=device)  # summed there: asking for it would wait
    right = torch.zeros((), dtype=torch.int64, device=device)
    parts = (net, optimizer, average, {"loss": loss_sum, "right": right})
    step = seen = first = 0
    before = 0.0  # seconds
    reported = False  # whether what the epoch came to has been given
    if start is not None:
        start.restore(*parts)
        training_state.replay(schedule, start.steps)
        first, seen, before = start.epoch, start.seen, start.train_seconds
        step, reported = start.steps - seen, start.reported

    def state() -> State:
        # An epoch that is whole is behind; one that was cut short goes on where more is wanted.
        is_behind = reported and seen == steps_per_epoch
        return State.of(
            *parts,
            epoch=epoch + is_behind,
            seen=0 if is_behind else seen,
            reported=reported,
            steps=step + seen,
            train_seconds=before + time.perf_counter() - started,
        )

    def train_on(rows: Tensor) -> None:
        optimizer.zero_grad()
        # Drawn for the whole batch: however many processes there are, an image is changed in one way.
        part = group.part(batch_size)
        draws = augment.draw(batch_size, config, device).of(part)
        if group.count > 1:
            devices.seed(device, batches.seed_at(step_seed, group.rank))  # whose dropout is its own
        truth = labels[rows[part]]
        batch = images.index_select(0, rows[part])  # several times faster than images[rows]
        pixels = augment.apply(nets.scale_pixels(batch), config, draws)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == devices.BF16):
            logits = _forward(net, nets.normalise(pixels))
        logits = logits.float()
        loss = F.cross_entropy(logits, truth, label_smoothing=config.label_smoothing)
        share = len(truth) / batch_size
        (loss * share).backward()
        with torch.no_grad():
            loss_now = F.cross_entropy(logits, truth) * share
            right_now = (logits.argmax(dim=1) == truth).sum()
        group.add_up([*optimizers.gradients(net), loss_now, right_now])
        optimizers.clip(net.parameters(), config.clip_norm)
        optimizer.step()
        if average is not None:
            average.update_parameters(net)
        loss_sum.add_(loss_now)
        right.add_(right_now)

    is_graphed = device.type == "cuda" and group.count == 1
    do_step = cuda_graphs.GraphedStep(train_on, device) if is_graphed else train_on
    with (
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
    ):
        for epoch in range(first, math.ceil(steps / steps_per_epoch)):
            if reported and step + seen >= steps:
                return
            reported = False
            order = batches.order(len(images), batch_size, seed=config.seed, epoch=epoch)
            net.train()
            if not seen:
                loss_sum.zero_()
                right.zero_()
            stopped = False
            for rows in order[seen : steps - step].to(device):
                step_seed = batches.seed_at(config.seed, epoch, step + seen + 1)
                devices.seed(device, step_seed)
                do_step(rows)
                schedule.step()
                seen += 1
                if stopped := on_step((step + seen) * batch_size, state):
                    break
            _wait(device)
            train_seconds = before + time.perf_counter() - started
            validation_loss, validation_accuracy = _measure(measured, *held_out, group)
            done = Epoch(
                epoch=epoch + 1,
                steps=step + seen,
                train_loss=loss_sum.item() / seen,
                train_accuracy=right.item() / (seen * batch_size),
                validation_loss=validation_loss,
                validation_accuracy=validation_accuracy,
                learning_rate=float(optimizer.param_groups[0]["lr"]),
                train_seconds=train_seconds,
                finished=seen == steps_per_epoch,
            )
            reported = True
            yield EpochResult(done, measured, state)
            if stopped:
                return
            step, seen = step + seen, 0


def _forward(net: nn.Module, images: Tensor) -> Tensor:
    """Logits of a net that is being trained."""
    try:
        logits: Tensor = net(images)
    except ValueError as error:
        if len(images) > 1 or "more than 1 value per channel" not in str(error):
            raise
        raise UsageError(
            "--batch-size 1: the net has batch normalisation, which needs 2 images or more"
        ) from error
    return logits


@torch.no_grad()
def _measure(
    net: nn.Module, images: Tensor, labels: Tensor, group: distributed.Group
) -> tuple[float | None, float | None]:
    """Loss and accuracy of the net as it is; None for both without images."""
    count = len(images)
    if not count:
        return None, None
    net.eval()
    mine = group.part(count)
    loss, right = torch.zeros((), device=images.device), torch.zeros((), device=images.device)
    parts = zip(
        images[mine].split(_EVALUATION_BATCH), labels[mine].split(_EVALUATION_BATCH), strict=True
    )
    for pixels, truth in parts:
        if len(pixels):  # there may be fewer images than processes
            logits = net(nets.normalise(nets.scale_pixels(pixels)))
            loss += F.cross_entropy(logits, truth, reduction="sum")
            right += (logits.argmax(dim=1) == truth).sum()
    group.add_up([loss, right])
    return loss.item() / count, right.item() / count


def _on_device(split: Split, device: torch.device) -> tuple[Tensor, Tensor]:
    """All images, uint8 (N, 28, 28), and labels, int64 (N,): a split is small enough to lie there."""
    return torch.from_numpy(split.images).to(device), torch.from_numpy(split.labels).to(device)


def _wait(device: torch.device) -> None:
    """Wait until the device has done what it was given, so that a clock reading means something."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
