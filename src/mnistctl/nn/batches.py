"""Which images make which batch: a function of the seed, the epoch and the step, and nothing else."""

import hashlib

import torch
from torch import Tensor


def seed_at(seed: int, epoch: int, step: int = 0) -> int:
    """A seed for one place in a run, in [0, 2^63), unlike that of any other place."""
    digest = hashlib.blake2b(f"{seed} {epoch} {step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


def order(images: int, batch_size: int, *, seed: int, epoch: int) -> Tensor:
    """The rows of every batch of an epoch, int64 (steps, batch_size), on the CPU.

    Every batch is full; the few images that do not fill one are others in every epoch.
    """
    generator = torch.Generator().manual_seed(seed_at(seed, epoch))
    steps = images // batch_size
    rows = torch.randperm(images, generator=generator)
    return rows[: steps * batch_size].view(steps, batch_size)
