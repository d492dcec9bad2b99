"""Where to compute."""

import contextlib
import ctypes

import torch

from mnistctl.errors import UsageError
from mnistctl.settings.train_settings import PRECISIONS
from mnistctl.system import torchrun

NAMES = ("auto", "cpu", "cuda", "cuda:N", "mps")
AUTO, FLOAT32, BF16 = PRECISIONS

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h

# Names that PyTorch has for instructions on bfloat16: Intel's and AMD's, Arm's.
_CPU_CAPABILITIES = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def precision(name: str, device: torch.device) -> str:
    """What training steps compute in: "float32" or "bf16"; "auto" is bf16 where it is faster."""
    if name != AUTO:
        return name
    return BF16 if has_bf16(device) else FLOAT32


def has_bf16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 itself."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name) for name in _CPU_CAPABILITIES)


def seed(device: torch.device, value: int) -> None:
    """Seed a device's global generator, and no other: `torch.manual_seed` costs 80 times as much."""
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)
    else:
        torch.default_generator.manual_seed(value)


def keep_freed_memory() -> None:
    """Let glibc keep what a step frees for the next one, where it would give it back to the system.

    Getting it anew costs a third of a short training's time on a CPU. Elsewhere this does nothing.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # bytes; the most it takes
        mallopt(_M_TRIM_THRESHOLD, 1 << 30)


def has_graphs(device: torch.device) -> bool:
    """Whether a device replays a recorded step; tried out on one addition."""
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
    """The devices of this machine, the fastest last."""
    found = ["cpu", *(["mps"] if torch.backends.mps.is_available() else [])]
    found += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [torch.device(name) for name in found]


def resolve(name: str) -> torch.device:
    """The device of this name; "auto" is the fastest there is.

    Of the processes that torchrun starts on a machine each gets a GPU of its own.

    Raises:
        UsageError: not a device's name, or this machine has no such device.
    """
    if torchrun.processes() > 1 and name != "cpu":
        return _resolve_own(name)
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, number = name.partition(":")
    numbered = name == f"cuda:{number}" and number.isascii() and number.isdigit()
    if kind not in ("cpu", "cuda", "mps") or (name != kind and not numbered):
        raise UsageError(f"unknown device '{name}'; known: {', '.join(NAMES)}")
    if kind == "cuda":
        count = torch.cuda.device_count()
        index = int(number or 0)
        if index >= count:
            there = f"{count} of them" if count else "no CUDA device"
            raise UsageError(
                f"--device {name}: torch finds {there} on this machine; try '--device auto'"
            )
        return torch.device(f"cuda:{index}")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UsageError("--device mps: this machine has no Apple GPU; try '--device auto'")
    return torch.device(kind)


def _resolve_own(name: str) -> torch.device:
    """The device of one of several processes."""
    if name not in ("auto", "cuda"):
        raise UsageError(f"--device {name}: with several processes: auto, cpu or cuda")
    needed, count = torchrun.local_processes(), torch.cuda.device_count()
    if needed <= count:
        return torch.device(f"cuda:{torchrun.local_rank()}")
    if name == "cuda" or count:
        raise UsageError(
            f"--device {name}: {needed} processes on this machine, which has {count} GPUs; try "
            "'--device cpu'"
        )
    return torch.device("cpu")
