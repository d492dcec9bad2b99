"""Devices: which one to compute on, in which precision, and what each supports."""

import contextlib
import ctypes
from collections.abc import Iterator

import torch

from mnistctl.errors import UsageError
from mnistctl.settings.train_settings import PRECISIONS
from mnistctl.system import torchrun

NAMES = ("auto", "cpu", "cuda", "cuda:N", "mps")
AUTO, FLOAT32, BF16 = PRECISIONS

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h

# PyTorch's names for bfloat16 instructions: first Intel's and AMD's, then Arm's.
_CPU_CAPABILITIES = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def resolve_precision(name: str, device: torch.device) -> str:
    """The precision of training steps, "float32" or "bf16"; "auto" is bf16 where it is faster."""
    if name != AUTO:
        return name
    return BF16 if has_bf16(device) else FLOAT32


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 natively."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name) for name in _CPU_CAPABILITIES)


def seed(device: torch.device, value: int) -> None:
    """Seed the device's global generator only: `torch.manual_seed` seeds all, in 80 times the time."""
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)
    else:
        torch.default_generator.manual_seed(value)


def fork_rng(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Restore the global generators of the CPU and of a CUDA device when the block ends."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next training step instead of returning it to the system.

    Without this, requesting it again takes a third of the time of a short CPU training (`fast`; see
    docs/reference/benchmarks.md). Other C libraries do not have `mallopt`; there it does nothing.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # not glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # bytes; the maximum that glibc accepts
        mallopt(_M_TRIM_THRESHOLD, 1 << 30)  # bytes


@contextlib.contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Compute with this number of CPU threads, and afterwards with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def has_graphs(device: torch.device) -> bool:
    """Whether the device can record and replay CUDA graphs; tested with one addition."""
    if device.type != "cuda":
        return False
    total = torch.zeros(1, device=device)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            total.add_(1)
        graph.replay()
    except RuntimeError:
        return False
    return total.item() == 1


def find_all() -> list[torch.device]:
    """All devices of this machine: the CPU first, then GPUs."""
    names = ["cpu", *(["mps"] if torch.backends.mps.is_available() else [])]
    names += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [torch.device(name) for name in names]


def resolve(name: str) -> torch.device:
    """The device with this name; "auto" is a GPU if there is one, otherwise the CPU.

    Each of several processes that torchrun starts on a machine gets a GPU to itself.

    Raises:
        UsageError: the name is unknown, or this machine does not have the device.
    """
    if torchrun.processes() > 1 and name != "cpu":
        return _resolve_for_process(name)
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, number = name.partition(":")
    is_numbered = name == f"cuda:{number}" and number.isascii() and number.isdigit()
    if kind not in ("cpu", "cuda", "mps") or (name != kind and not is_numbered):
        raise UsageError(f"unknown device '{name}'; available: {', '.join(NAMES)}")
    if kind == "cuda":
        count = torch.cuda.device_count()
        index = int(number or 0)
        if index >= count:
            available = f"{count} CUDA device{'s' * (count > 1)}" if count else "no CUDA device"
            raise UsageError(
                f"--device {name}: torch finds {available} on this machine; try '--device auto'"
            )
        return torch.device(f"cuda:{index}")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UsageError("--device mps: this machine has no Apple GPU; try '--device auto'")
    return torch.device(kind)


def _resolve_for_process(name: str) -> torch.device:
    """The device of this process, one of several on this machine."""
    if name not in ("auto", "cuda"):
        raise UsageError(f"--device {name}: several processes need auto, cpu or cuda")
    needed, count = torchrun.local_processes(), torch.cuda.device_count()
    if needed <= count:
        return torch.device(f"cuda:{torchrun.local_rank()}")
    if name == "cuda" or count:
        raise UsageError(
            f"--device {name}: {needed} processes need {needed} GPUs, and this machine has {count}; "
            "try '--device cpu'"
        )
    return torch.device("cpu")
