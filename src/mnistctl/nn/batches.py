"""Which images form which batch: a function of the seed, the epoch and the step alone."""

import hashlib

import torch
from torch import Tensor


def derive_seed(seed: int, epoch: int, step: int = 0) -> int:
    """A seed for one epoch or step of a run, in [0, 2^63), different from that of any other."""
    digest = hashlib.blake2b(f"{seed} {epoch} {step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


def draw_order(images: int, batch_size: int, *, seed: int, epoch: int) -> Tensor:
    """The image indices of every batch of an epoch, int64 (steps, batch_size), on the CPU.

    Every batch is full. The images left over differ from epoch to epoch.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, epoch))
    steps = images // batch_size
    rows = torch.randperm(images, generator=generator)
    return rows[: steps * batch_size].view(steps, batch_size)
