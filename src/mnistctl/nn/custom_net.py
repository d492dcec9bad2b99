"""A person's own `nn.Module`, from a file of theirs. Building one runs that file."""

import contextlib
import copy
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mnistctl.errors import UsageError, unknown_name
from mnistctl.types import IMAGE_SIZE

# Those that NumPy and safetensors have as well.
_SAVED_TYPES = (
    *(torch.float64, torch.float32, torch.float16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)
_CLASSES_ARGUMENTS = ("classes", "num_classes")  # of a class that leaves their number to its caller


def build(file: Path, class_name: str, *, arch_args: Mapping[str, Any], classes: int) -> nn.Module:
    """An object of the class, with fresh weights, tried out.

    It is made with `arch_args`, and with the number of classes if it has an argument `classes` or
    `num_classes`. It has to take normalised images, float32 (N, 1, 28, 28), and to give (N, classes).
    What its code prints goes to stderr.

    Raises:
        UsageError: no such file or class, its code fails, or it cannot be trained and saved.
    """
    option = f"--arch {file}:{class_name}"
    if not file.is_file():
        raise UsageError(f"{option}: {file}: no such file")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            made = _find(file, class_name)
            parameters = inspect.signature(made).parameters
            numbered = {name: classes for name in _CLASSES_ARGUMENTS if name in parameters}
            arguments: dict[str, Any] = {**numbered, **arch_args}
            net = made(**arguments)
            found = _try(net)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:  # whatever it is, it is in their code
        raise UsageError(f"{option}: {_where(error, file)}") from error
    for shape in found:
        if shape[1:] != (classes,):
            raise UsageError(
                f"{option}: for images {(shape[0], 1, IMAGE_SIZE, IMAGE_SIZE)} it gives {shape}, "
                f"expected logits {(shape[0], classes)}"
            )
    for name, tensor in net.state_dict().items():
        if not isinstance(tensor, torch.Tensor) or tensor.dtype not in _SAVED_TYPES:
            raise UsageError(f"{option}: {name} is not of a type that can be saved")
        if not tensor.isfinite().all():
            raise UsageError(
                f"{option}: {name} holds values that are not finite; a buffer that is no weight is "
                "registered with persistent=False"
            )
    with contextlib.suppress(RuntimeError):  # a net with three-dimensional convolutions
        return net.to(memory_format=torch.channels_last)
    return net


def _try(net: nn.Module) -> list[tuple[int, ...]]:
    """The shapes of what a copy of the net gives, reading two images and learning from three.

    Raises:
        UsageError: it gives something else than a tensor, or has nothing to learn.
    """
    copied = copy.deepcopy(net)
    shapes = []
    with torch.random.fork_rng([]):
        for images in (2, 3):
            learns = images == 3
            copied.train(learns)
            with torch.set_grad_enabled(learns):
                logits = copied(torch.zeros(images, 1, IMAGE_SIZE, IMAGE_SIZE))
            if not isinstance(logits, torch.Tensor):
                raise TypeError(f"it gives {type(logits).__name__}, expected a tensor of logits")
            shapes.append(tuple(logits.shape) if logits.dim() else (images,))
    if not logits.requires_grad:
        raise TypeError("it has no weights that can be trained")
    logits.sum().backward()
    return shapes


def _find(file: Path, class_name: str) -> type[nn.Module]:
    name = f"mnistctl_own_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file.resolve())
    assert spec is not None  # noqa: S101 - the name ends in .py
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    folder = str(file.resolve().parent)
    sys.path.insert(0, folder)  # it may import what lies beside it
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    nets = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, nn.Module)
    }
    if class_name not in nets:
        raise unknown_name(f"nn.Module in {file}", class_name, nets)
    return nets[class_name]


def _where(error: BaseException, file: Path) -> str:
    """An error in their code, with the last of their lines that it passed through."""
    lines = [error.lineno] if isinstance(error, SyntaxError) else []
    trace = error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == file.resolve():
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    place = f"line {lines[-1]}: " if lines else ""
    return f"{place}{type(error).__name__}: {error}"
