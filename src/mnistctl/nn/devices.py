"""Where to compute."""

import torch

from mnistctl.errors import UsageError

NAMES = ("auto", "cpu", "cuda", "cuda:N", "mps")


def precision_of(device: torch.device) -> str:
    """What training steps compute in: float32, or TF32 where CUDA's convolutions use it."""
    tf32 = device.type == "cuda" and torch.backends.cudnn.allow_tf32
    return "tf32" if tf32 else "float32"


def resolve(name: str) -> torch.device:
    """The device of this name; "auto" is the fastest there is.

    Raises:
        UsageError: not a device's name, or this machine has no such device.
    """
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
