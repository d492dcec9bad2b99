"""Processes that train one net together: each takes its part of every batch.

Their weights are the same at every step, bit by bit, so one of them can save for all.
"""

import atexit
import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

# PyTorch imports it late, with the group there is as a default value, which then cannot end.
import torch.distributed.nn.functional
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mnistctl.errors import LostProcessError
from mnistctl.system import torchrun


@dataclass(frozen=True)
class Group:
    """The processes that train together, and which of them this is."""

    rank: int = 0
    count: int = 1

    def part(self, length: int) -> slice:
        """Which of so many images of a batch are this process's: parts of one length, or one more."""
        return slice(self.rank * length // self.count, (self.rank + 1) * length // self.count)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Put in place of each tensor its sum over all processes."""
        if self.count == 1:
            return
        together = torch.cat([tensor.detach().float().flatten() for tensor in tensors])
        _total(together)
        parts = together.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

    def any(self, value: bool) -> bool:
        """Whether it is true of any process."""
        if self.count == 1:
            return value
        found = torch.tensor(float(value))
        _total(found)
        return found.item() > 0

    def share(self, text: str = "") -> str:
        """What the first process says; the others wait for it."""
        if self.count == 1:
            return text
        said = torch.tensor(list(text.encode()), dtype=torch.uint8)
        length = torch.tensor(len(said))
        with _others():
            dist.broadcast(length, 0)
            said = said if self.rank == 0 else torch.empty(int(length), dtype=torch.uint8)
            dist.broadcast(said, 0)
        return bytes(said.tolist()).decode()

    def prepare(self, net: nn.Module) -> None:
        """Give all processes the first one's weights, and let batch normalisation see whole batches."""
        if self.count == 1:
            return
        for tensor in net.state_dict().values():
            value = tensor.contiguous()
            with _others():
                dist.broadcast(value, 0)
            tensor.copy_(value)
        for module in net.modules():
            if isinstance(module, _BatchNorm):
                module.__class__ = SyncedBatchNorm


SOLO = Group()

# One that dies is noticed at once; one may have to wait while another downloads or draws.
_PATIENCE = timedelta(days=7)
_IS_GONE = re.compile(r"clos|reset by peer|refused|broken pipe|timed? ?out|abort|exited", re.IGNORECASE)


def join() -> Group:
    """The group that torchrun has started this process in; of one process outside torchrun.

    Raises:
        LostProcessError: the others do not come.
    """
    if torchrun.processes() == 1:
        return SOLO
    if not dist.is_initialized():
        with_cuda = torch.cuda.is_available() and dist.is_nccl_available()
        if with_cuda:
            torch.cuda.set_device(torchrun.local_rank() % torch.cuda.device_count())
        with _others():
            # What is agreed on lies on the CPU, whatever computes.
            dist.init_process_group("cpu:gloo,cuda:nccl" if with_cuda else "gloo", timeout=_PATIENCE)
        atexit.register(dist.destroy_process_group)
    return Group(dist.get_rank(), dist.get_world_size())


class SyncedBatchNorm(_BatchNorm):
    """Batch normalisation by the mean and variance of what all processes have.

    PyTorch's own is for GPUs only. Takes and gives float (N, C) or (N, C, H, W).

    Source: Ioffe and Szegedy 2015, "Batch Normalization".
    """

    def forward(self, values: Tensor) -> Tensor:
        """Normalise; and in training take part in what all processes count."""
        if not self.training:
            return super().forward(values)
        over = [0, *range(2, values.dim())]
        shape = [1, -1] + [1] * (values.dim() - 2)
        wide = values.float()
        count = torch.tensor(float(wide.numel() // wide.shape[1]), device=wide.device)
        summed = _Total.apply(torch.cat([wide.sum(over), count[None]]))
        mean, total = summed[:-1] / summed[-1], summed[-1].detach()
        centred = wide - mean.view(shape)
        variance = _Total.apply(centred.square().sum(over)) / total
        if self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                assert self.num_batches_tracked is not None  # noqa: S101 - it is there with them
                self.num_batches_tracked.add_(1)
                weight = self.momentum
                if weight is None:  # all batches count alike
                    weight = 1 / float(self.num_batches_tracked)
                self.running_mean.lerp_(mean, weight)
                self.running_var.lerp_(variance * total / (total - 1), weight)
        found = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            found = found * self.weight.view(shape) + self.bias.view(shape)
        normed: Tensor = found.to(values.dtype)
        return normed

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - PyTorch's name
        pass


class _Total(torch.autograd.Function):
    """A sum over all processes, with its gradient."""

    @staticmethod
    def forward(context: object, values: Tensor) -> Tensor:
        found = values.clone()
        _total(found)
        return found

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        found = gradient.clone()
        _total(found)
        return found


def _total(values: Tensor) -> None:
    with _others():
        dist.all_reduce(values)


@contextlib.contextmanager
def _others() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not _IS_GONE.search(str(error)):
            raise
        raise LostProcessError("another process of this training has ended") from error
