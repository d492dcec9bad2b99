"""Optimizers, learning-rate schedules and the weight average, as the settings name them."""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.optim import lr_scheduler

from mnistctl.settings.train_settings import TrainSettings


def build(
    parameters: Iterable[nn.Parameter], settings: TrainSettings, *, device: torch.device
) -> optim.Optimizer:
    """The optimizer that the settings name, fused into one kernel where PyTorch can.

    On CUDA its state and the learning rate are on the device, so that a CUDA graph can hold its step.
    """
    on_cuda = device.type == "cuda"
    rate = torch.tensor(settings.learning_rate, device=device) if on_cuda else settings.learning_rate
    common: dict[str, Any] = {"lr": rate, "weight_decay": settings.weight_decay}
    momentum, beta2 = settings.momentum, settings.beta2
    match settings.optimizer:
        case "sgd":
            return optim.SGD(
                parameters, momentum=momentum, nesterov=settings.nesterov, fused=True, **common
            )
        case "adam" | "adamw":
            kind = optim.Adam if settings.optimizer == "adam" else optim.AdamW
            return kind(parameters, betas=(momentum, beta2), fused=True, capturable=on_cuda, **common)
        case "rmsprop":
            return optim.RMSprop(
                parameters, alpha=beta2, momentum=momentum, capturable=on_cuda, **common
            )
        case "adadelta":
            return optim.Adadelta(parameters, rho=beta2, capturable=on_cuda, **common)
    raise AssertionError(settings.optimizer)


def schedule(
    optimizer: optim.Optimizer, settings: TrainSettings, *, steps: int, steps_per_epoch: int
) -> lr_scheduler.LRScheduler:
    """The learning-rate schedule that the settings name, to be stepped after every optimizer step.

    The warm-up is linear, in the one-cycle schedule along a cosine. Its steps are part of `steps`.
    """
    if settings.schedule == "one-cycle":
        return lr_scheduler.OneCycleLR(
            optimizer,
            settings.learning_rate,
            total_steps=max(steps, 4) + 1,  # with fewer than 5 PyTorch divides by zero
            pct_start=settings.warmup,
            cycle_momentum=False,
        )
    warmup_steps = round(settings.warmup * steps)
    main: lr_scheduler.LRScheduler
    match settings.schedule:
        case "constant":
            main = lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)
        case "step":
            step_size = max(1, round(settings.step_epochs * steps_per_epoch))
            main = lr_scheduler.StepLR(optimizer, step_size, gamma=settings.gamma)
        case "cosine":
            main = lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps - warmup_steps))
        case _:
            raise AssertionError(settings.schedule)
    if not warmup_steps:
        return main
    warmup = lr_scheduler.LinearLR(
        optimizer, start_factor=1 / (warmup_steps + 1), total_iters=warmup_steps
    )
    return lr_scheduler.SequentialLR(optimizer, [warmup, main], milestones=[warmup_steps])


def replay(schedule: lr_scheduler.LRScheduler, steps: int) -> None:
    """Advance a new schedule by `steps` steps, with the same rounding as in the original run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns that the optimizer has not stepped
        for _ in range(steps):
            schedule.step()


def average(net: nn.Module, decay: float) -> optim.swa_utils.AveragedModel:
    """An exponential moving average of a net's weights and buffers, to be updated after every step.

    The initial weights have no share in it, so the average of a short run is not pulled towards them.
    Integer buffers, such as counters, are copied and not averaged.

    Source: the bias correction of Kingma and Ba 2014, "Adam", section 3.
    """

    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        if averaged[0].is_floating_point():
            steps = int(count)
            corrected = decay * (1 - decay**steps) / (1 - decay ** (steps + 1))
            optim.swa_utils.get_ema_multi_avg_fn(corrected)(list(averaged), list(current), count)
            return
        for old, new in zip(averaged, current, strict=True):
            old.copy_(new)

    return optim.swa_utils.AveragedModel(net, multi_avg_fn=update, use_buffers=True)


def gradients(net: nn.Module) -> list[Tensor]:
    """The gradients of all weights that have one; changing them changes those of the net."""
    return [weight.grad for weight in net.parameters() if weight.grad is not None]


def clip(parameters: Iterable[nn.Parameter], norm: float) -> None:
    """Scale the gradients down to at most this norm over all parameters; 0: leave them unchanged."""
    if norm:
        torch.nn.utils.clip_grad_norm_(parameters, norm)
