"""A person's own `nn.Module`, from a file of theirs. Building one runs that file."""

import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mnistctl.architectures import IMAGE_SIZE
from mnistctl.errors import UsageError, unknown_name

_CLASSES_ARGUMENTS = ("classes", "num_classes")  # of a class that leaves their number to its caller


def build(file: Path, class_name: str, *, arch_args: Mapping[str, Any], classes: int) -> nn.Module:
    """An object of the class, with fresh weights.

    It is made with `arch_args`, and with the number of classes if it has an argument `classes` or
    `num_classes`. It has to take normalised images, float32 (N, 1, 28, 28), and to give (N, classes).

    Raises:
        UsageError: no such file or class, its code fails, or it gives something else.
    """
    option = f"--arch {file}:{class_name}"
    made = _find(file, class_name, option)
    parameters = inspect.signature(made).parameters
    numbered = {name: classes for name in _CLASSES_ARGUMENTS if name in parameters}
    arguments: dict[str, Any] = {**numbered, **arch_args}
    try:
        net = made(**arguments)
        net.eval()
        with torch.no_grad():
            logits = net(torch.zeros(2, 1, IMAGE_SIZE, IMAGE_SIZE))
    except Exception as error:  # whatever it is, it is in their code
        raise UsageError(f"{option}: {_where(error, file)}") from error
    found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if found != (2, classes):
        raise UsageError(
            f"{option}: for images (2, 1, 28, 28) it gives {found}, expected logits (2, {classes})"
        )
    return net


def _find(file: Path, class_name: str, option: str) -> type[nn.Module]:
    if not file.is_file():
        raise UsageError(f"{option}: {file}: no such file")
    name = f"mnistctl_own_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file.resolve())
    assert spec is not None  # noqa: S101 - the name ends in .py
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever it is, it is in their code
        raise UsageError(f"{option}: {_where(error, file)}") from error
    nets = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, nn.Module)
    }
    if class_name not in nets:
        raise unknown_name(f"nn.Module in {file}", class_name, nets)
    return nets[class_name]


def _where(error: Exception, file: Path) -> str:
    """An error in their code, with the last of their lines that it passed through."""
    lines = [error.lineno] if isinstance(error, SyntaxError) else []
    trace = error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == file.resolve():
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    place = f"line {lines[-1]}: " if lines else ""
    return f"{place}{type(error).__name__}: {error}"
