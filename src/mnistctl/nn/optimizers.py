"""Optimizers and schedules by name, as PyTorch has them."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn, optim
from torch.optim import lr_scheduler

from mnistctl.settings.train_settings import TrainSettings


def build(
    parameters: Iterable[nn.Parameter], config: TrainSettings, *, device: torch.device
) -> optim.Optimizer:
    """The optimizer a config names; fused into one kernel where PyTorch can.

    On CUDA its state lies on the device, the learning rate too, so that a graph can hold its step.
    """
    on_cuda = device.type == "cuda"
    rate = torch.tensor(config.learning_rate, device=device) if on_cuda else config.learning_rate
    decay = config.weight_decay
    betas = (config.momentum, config.beta2)
    match config.optimizer:
        case "sgd":
            return optim.SGD(
                parameters,
                lr=rate,
                momentum=config.momentum,
                nesterov=config.nesterov,
                weight_decay=decay,
                fused=True,
            )
        case "adam":
            return optim.Adam(
                parameters, lr=rate, betas=betas, weight_decay=decay, fused=True, capturable=on_cuda
            )
        case "adamw":
            return optim.AdamW(
                parameters, lr=rate, betas=betas, weight_decay=decay, fused=True, capturable=on_cuda
            )
        case "rmsprop":
            return optim.RMSprop(
                parameters,
                lr=rate,
                alpha=config.beta2,
                momentum=config.momentum,
                weight_decay=decay,
                capturable=on_cuda,
            )
        case "adadelta":
            return optim.Adadelta(
                parameters, lr=rate, rho=config.beta2, weight_decay=decay, capturable=on_cuda
            )
    raise AssertionError(config.optimizer)


def schedule(
    optimizer: optim.Optimizer, config: TrainSettings, *, steps: int, steps_per_epoch: int
) -> lr_scheduler.LRScheduler:
    """The schedule a config names, to be stepped after every step of the optimizer.

    A warm-up rises in a straight line and takes its steps from the schedule that follows; that of
    "one-cycle" is a part of it and rises along a cosine.
    """
    if config.schedule == "one-cycle":
        return lr_scheduler.OneCycleLR(
            optimizer,
            config.learning_rate,
            total_steps=max(steps, 4) + 1,  # below 5 it divides by zero
            pct_start=config.warmup,
            cycle_momentum=False,
        )
    warm = round(config.warmup * steps)
    main: lr_scheduler.LRScheduler
    match config.schedule:
        case "constant":
            main = lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)
        case "step":
            every = max(1, round(config.step_epochs * steps_per_epoch))
            main = lr_scheduler.StepLR(optimizer, every, gamma=config.gamma)
        case "cosine":
            main = lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps - warm))
        case _:
            raise AssertionError(config.schedule)
    if not warm:
        return main
    rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / (warm + 1), total_iters=warm)
    return lr_scheduler.SequentialLR(optimizer, [rise, main], milestones=[warm])


def average(net: nn.Module, decay: float) -> optim.swa_utils.AveragedModel:
    """An exponential moving average of a net's weights and buffers, to be updated after each step.

    Of the steps there have been each has its weight, and the fresh weights have none: so the average
    of a short run is not what it began with. Whole numbers, counts or tables of indices, are not
    averaged but copied.

    Source: the bias correction of Kingma and Ba 2014, "Adam", section 3.
    """

    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        if averaged[0].is_floating_point():
            steps = int(count)
            kept = decay * (1 - decay**steps) / (1 - decay ** (steps + 1))
            optim.swa_utils.get_ema_multi_avg_fn(kept)(list(averaged), list(current), count)
            return
        for old, new in zip(averaged, current, strict=True):
            old.copy_(new)

    return optim.swa_utils.AveragedModel(net, multi_avg_fn=update, use_buffers=True)


def gradients(net: nn.Module) -> list[Tensor]:
    """Those of all weights that have one, as they lie there."""
    return [weight.grad for weight in net.parameters() if weight.grad is not None]


def clip(parameters: Iterable[nn.Parameter], norm: float) -> None:
    """Scale gradients down to at most this norm, over all of them together; 0: leave them."""
    if norm:
        torch.nn.utils.clip_grad_norm_(parameters, norm)
