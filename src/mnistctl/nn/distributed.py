"""Several processes that train one net together: each takes its shard of every batch.

The weights of all processes are identical after every step, bit for bit, so one process can save for
all of them.
"""

import atexit
import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

import torch
import torch.distributed as dist

# PyTorch imports this module late otherwise, and it then keeps the group from ending.
import torch.distributed.nn.functional
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mnistctl.errors import LostProcessError
from mnistctl.system import torchrun

# A process that dies is detected at once. One may have to wait long while another downloads or draws.
_TIMEOUT = timedelta(days=7)
# PyTorch has no class for the error of a lost connection.
_LOST = re.compile(r"clos|reset by peer|refused|broken pipe|timed? ?out|abort|exited", re.IGNORECASE)


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together. Every process must call the same methods in the same order."""

    rank: int = 0  # of this process
    count: int = 1

    def shard(self, length: int) -> slice:
        """This process's share of `length` images; the shares differ by one image at most."""
        return slice(self.rank * length // self.count, (self.rank + 1) * length // self.count)

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor, in place, by its sum over all processes."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.detach().float().flatten() for tensor in tensors])
        _all_reduce(flat)
        sums = flat.split([tensor.numel() for tensor in tensors])
        for tensor, total in zip(tensors, sums, strict=True):
            tensor.copy_(total.view(tensor.shape))

    def any(self, value: bool) -> bool:
        """Whether `value` is true in any process."""
        if self.count == 1:
            return value
        total = torch.tensor(float(value))
        _all_reduce(total)
        return total.item() > 0

    def broadcast(self, text: str = "") -> str:
        """The first process's text; the other processes wait for it."""
        if self.count == 1:
            return text
        content = torch.tensor(list(text.encode()), dtype=torch.uint8)
        length = torch.tensor(len(content))
        with _lost_process_error():
            dist.broadcast(length, 0)
            content = content if self.rank == 0 else torch.empty(int(length), dtype=torch.uint8)
            dist.broadcast(content, 0)
        return bytes(content.tolist()).decode()

    def prepare(self, net: nn.Module) -> None:
        """Give all processes the first one's weights; make batch normalisation use the whole batch."""
        if self.count == 1:
            return
        for tensor in net.state_dict().values():
            value = tensor.contiguous()
            with _lost_process_error():
                dist.broadcast(value, 0)
            tensor.copy_(value)
        layers = [module for module in net.modules() if isinstance(module, _BatchNorm)]
        synced = {layer: SyncedBatchNorm.convert(layer) for layer in layers}
        # A layer that a net uses in several places stays one layer.
        for name, module in list(net.named_modules(remove_duplicate=False)):
            if isinstance(module, _BatchNorm):
                net.set_submodule(name, synced[module])


SINGLE_PROCESS = ProcessGroup()


def join_process_group() -> ProcessGroup:
    """The processes that torchrun started with this one; outside torchrun this process alone.

    Raises:
        LostProcessError: another process has ended, or torchrun does not answer.
    """
    if torchrun.processes() == 1:
        return SINGLE_PROCESS
    if not dist.is_initialized():
        torchrun.connect()  # it waits for 10 s at most; the other processes may need hours
        with_cuda = torch.cuda.is_available() and dist.is_nccl_available()
        if with_cuda:
            torch.cuda.set_device(torchrun.local_rank() % torch.cuda.device_count())
        with _lost_process_error():
            # `any` and `broadcast` use tensors on the CPU, on any device.
            dist.init_process_group("cpu:gloo,cuda:nccl" if with_cuda else "gloo", timeout=_TIMEOUT)
        atexit.register(dist.destroy_process_group)
    return ProcessGroup(dist.get_rank(), dist.get_world_size())


class SyncedBatchNorm(_BatchNorm):
    """Batch normalisation with the mean and variance over the batches of all processes.

    PyTorch's own works on GPUs only. Takes and gives float (N, C) or (N, C, H, W).

    Source: Ioffe and Szegedy 2015, "Batch Normalization".
    """

    @classmethod
    def convert(cls, module: _BatchNorm) -> Self:
        """A synced layer in place of an ordinary one, with the same settings and the same tensors."""
        converted = cls(
            module.num_features,
            module.eps,
            module.momentum,
            module.affine,
            module.track_running_stats,
            device="meta",  # the tensors are replaced at once
        )
        for name, parameter in module.named_parameters(recurse=False):
            converted.register_parameter(name, parameter)
        for name, buffer in module.named_buffers(recurse=False):
            converted.register_buffer(name, buffer)
        return converted.train(module.training)

    def forward(self, values: Tensor) -> Tensor:
        """Normalise; in training all processes must call this together."""
        if not self.training:
            return super().forward(values)
        dimensions = [0, *range(2, values.dim())]
        shape = [1, -1] + [1] * (values.dim() - 2)
        wide = values.float()
        count = torch.tensor(float(wide.numel() // wide.shape[1]), device=wide.device)
        sums = _AllReduce.apply(torch.cat([wide.sum(dimensions), count[None]]))
        mean, total = sums[:-1] / sums[-1], sums[-1].detach()
        centred = wide - mean.view(shape)
        variance = _AllReduce.apply(centred.square().sum(dimensions)) / total
        self._update_running_statistics(mean, variance * total / (total - 1))
        normalised = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        result: Tensor = normalised.to(values.dtype)
        return result

    @torch.no_grad()
    def _update_running_statistics(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None  # noqa: S101 - exists together with them
        self.num_batches_tracked.add_(1)
        weight = self.momentum
        if weight is None:  # a mean of all batches
            weight = 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance, weight)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - PyTorch's name
        pass


class _AllReduce(torch.autograd.Function):
    """A sum over all processes, with its gradient."""

    @staticmethod
    def forward(context: object, values: Tensor) -> Tensor:
        total = values.clone()
        _all_reduce(total)
        return total

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        _all_reduce(total)
        return total


def _all_reduce(values: Tensor) -> None:
    with _lost_process_error():
        dist.all_reduce(values)


@contextlib.contextmanager
def _lost_process_error() -> Iterator[None]:
    """Turn the error of a lost connection into `LostProcessError`."""
    try:
        yield
    except RuntimeError as error:
        if not _LOST.search(str(error)):
            raise
        raise LostProcessError("another process of this run has ended") from error
