"""The trainer: one plain loop for every net, dataset and device."""

import math
import time
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnistctl.config import TrainConfig
from mnistctl.datasets import Split
from mnistctl.errors import UsageError
from mnistctl.nn import augment, batches, devices, graphs, nets, optimizers
from mnistctl.run_folder import Epoch

_EVALUATION_BATCH = 500  # small enough for a processor's cache


def plan_steps(config: TrainConfig, images: int) -> tuple[int, int, int]:
    """How a run divides: (images a step, steps an epoch, steps in all)."""
    batch_size = min(config.batch_size, images)
    steps_per_epoch = images // batch_size
    steps = max(config.min_steps, math.ceil(config.epochs * steps_per_epoch))
    return batch_size, steps_per_epoch, steps


def fit(
    net: nn.Module,
    config: TrainConfig,
    train: Split,
    validation: Split,
    *,
    device: torch.device,
    on_step: Callable[[int], None] = lambda images: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Epoch, nn.Module]]:
    """Train `net` in place, giving after each epoch what it came to, and the net that was measured.

    That net is the one to keep: `net` itself, or the average of its weights where the config wants
    one. The caller may end the run early by asking no further.

    Args:
        net: takes normalised images; lies on `device`.
        config: what to do.
        train: at least one image.
        validation: may be empty.
        device: where to compute.
        on_step: called after every step with the images seen in all.
        should_stop: asked after every step; True ends the run with the epoch begun.

    Raises:
        UsageError: the net has batch normalisation and cannot be trained on batches of one image.
    """
    if device.type == "cpu":
        devices.keep_freed_memory()
    batch_size, steps_per_epoch, steps = plan_steps(config, len(train.images))
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

    def train_on(rows: Tensor) -> None:
        optimizer.zero_grad()
        truth = labels[rows]
        batch = images.index_select(0, rows)  # whole images: several times faster than images[rows]
        pixels = augment.apply(nets.scale_pixels(batch), config)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == devices.BF16):
            logits = _forward(net, nets.normalise(pixels))
        logits = logits.float()
        loss = F.cross_entropy(logits, truth, label_smoothing=config.label_smoothing)
        loss.backward()
        optimizers.clip(net.parameters(), config.clip_norm)
        optimizer.step()
        if average is not None:
            average.update_parameters(net)
        with torch.no_grad():
            loss_sum.add_(F.cross_entropy(logits, truth))
            right.add_((logits.argmax(dim=1) == truth).sum())

    do_step = graphs.GraphedStep(train_on, device) if device.type == "cuda" else train_on
    step = 0
    with (
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
    ):
        for epoch in range(math.ceil(steps / steps_per_epoch)):
            order = batches.order(len(images), batch_size, seed=config.seed, epoch=epoch)
            net.train()
            loss_sum.zero_()
            right.zero_()
            seen = 0
            stopped = False
            for rows in order[: steps - step].to(device):
                devices.seed(device, batches.seed_at(config.seed, epoch, step + seen + 1))
                do_step(rows)
                schedule.step()
                seen += 1
                on_step((step + seen) * batch_size)
                if stopped := should_stop():
                    break
            step += seen
            _wait(device)
            train_seconds = time.perf_counter() - started
            validation_loss, validation_accuracy = _measure(measured, *held_out)
            done = Epoch(
                epoch=epoch + 1,
                steps=step,
                train_loss=loss_sum.item() / seen,
                train_accuracy=right.item() / (seen * batch_size),
                validation_loss=validation_loss,
                validation_accuracy=validation_accuracy,
                learning_rate=float(optimizer.param_groups[0]["lr"]),
                train_seconds=train_seconds,
                finished=seen == steps_per_epoch,
            )
            yield done, measured
            if stopped:
                return


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
def _measure(net: nn.Module, images: Tensor, labels: Tensor) -> tuple[float | None, float | None]:
    """Loss and accuracy of the net as it is; None for both without images."""
    if not len(images):
        return None, None
    net.eval()
    parts = images.split(_EVALUATION_BATCH)
    logits = torch.cat([net(nets.normalise(nets.scale_pixels(part))) for part in parts])
    right = (logits.argmax(dim=1) == labels).sum().item()
    return F.cross_entropy(logits, labels).item(), right / len(labels)


def _on_device(split: Split, device: torch.device) -> tuple[Tensor, Tensor]:
    """All images, uint8 (N, 28, 28), and labels, int64 (N,): a split is small enough to lie there."""
    return torch.from_numpy(split.images).to(device), torch.from_numpy(split.labels).to(device)


def _wait(device: torch.device) -> None:
    """Wait until the device has done what it was given, so that a clock reading means something."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
