"""Which images make which batch: a function of the seed, the epoch and the step, and nothing else."""

import torch
from torch import Tensor

_MIX = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio: spreads neighbouring seeds apart


def seed_at(seed: int, epoch: int, step: int = 0) -> int:
    """A seed for one place in a run, in [0, 2^63), unlike that of any other place."""
    mixed = seed
    for part in (epoch, step):
        mixed = ((mixed + part + 1) * _MIX) % 2**64
        mixed ^= mixed >> 31
    return mixed >> 1


def order(images: int, *, batch_size: int, seed: int, epoch: int) -> Tensor:
    """The rows of every batch of an epoch, int64 (steps, batch_size), on the CPU.

    Every batch is full; the few images that do not fill one are others in every epoch.
    """
    generator = torch.Generator().manual_seed(seed_at(seed, epoch))
    steps = images // batch_size
    rows = torch.randperm(images, generator=generator)
    return rows[: steps * batch_size].view(steps, batch_size)
