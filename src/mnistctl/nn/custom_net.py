"""Custom architectures: an `nn.Module` in a user's file. Building one runs that file."""

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
from mnistctl.settings.architectures import Architecture
from mnistctl.types import IMAGE_SIZE

# The types that NumPy and safetensors share with torch.
_SAVED_TYPES = (
    *(torch.float64, torch.float32, torch.float16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)
_CLASSES_ARGUMENTS = ("classes", "num_classes")  # constructor arguments for the number of classes


def build(architecture: Architecture, *, arch_args: Mapping[str, Any], classes: int) -> nn.Module:
    """Build a custom net with fresh weights, and check that it can be trained and saved.

    The constructor gets `arch_args`, and the number of classes if it has an argument `classes` or
    `num_classes`. The net has to take normalised images, float32 (N, 1, 28, 28), and to return logits
    (N, classes). What the user's code prints goes to stderr.

    Raises:
        UsageError: the file or class was not found, its code fails, or it cannot be trained and saved.
    """
    file, class_name = architecture.file, architecture.class_name
    assert file is not None and class_name is not None  # noqa: S101, PT018 - custom
    option = f"--arch {architecture.name}"
    if not file.is_file():
        raise UsageError(f"{option}: {file} not found")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            net_class = _load_class(file, class_name)
            parameters = inspect.signature(net_class).parameters
            class_counts = {name: classes for name in _CLASSES_ARGUMENTS if name in parameters}
            arguments: dict[str, Any] = {**class_counts, **arch_args}
            net = net_class(**arguments)
            output_shapes = _try_out(net)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise UsageError(f"{option}: {_describe(error, file)}") from error
    _check_shapes(output_shapes, classes, option=option)
    _check_tensors(net, option=option)
    with contextlib.suppress(RuntimeError):  # 3-D convolutions do not support channels_last
        return net.to(memory_format=torch.channels_last)
    return net


def _load_class(file: Path, class_name: str) -> type[nn.Module]:
    """Run the file and return its class."""
    module_name = f"mnistctl_custom_{file.stem}"
    spec = importlib.util.spec_from_file_location(module_name, file.resolve())
    assert spec is not None  # noqa: S101 - the name ends in .py
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look up their module there
    folder = str(file.resolve().parent)
    sys.path.insert(0, folder)  # the file may import modules from its folder
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    net_classes = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, nn.Module)
    }
    if class_name not in net_classes:
        raise unknown_name(f"nn.Module in {file}", class_name, net_classes)
    return net_classes[class_name]


def _try_out(net: nn.Module) -> list[tuple[int, ...]]:
    """Run a copy of the net on two images for evaluation and on three for training.

    Returns:
        The shape of the output of each run.

    Raises:
        TypeError: the net does not return a tensor, or has no trainable weights.
    """
    trial = copy.deepcopy(net)
    shapes = []
    with torch.random.fork_rng([]):
        for image_count, is_training in ((2, False), (3, True)):
            trial.train(is_training)
            with torch.set_grad_enabled(is_training):
                logits = trial(torch.zeros(image_count, 1, IMAGE_SIZE, IMAGE_SIZE))
            if not isinstance(logits, torch.Tensor):
                raise TypeError(f"returns {type(logits).__name__}, expected a tensor of logits")
            shapes.append(tuple(logits.shape) if logits.dim() else (image_count,))
    if not logits.requires_grad:
        raise TypeError("has no trainable weights")
    logits.sum().backward()
    return shapes


def _check_shapes(shapes: list[tuple[int, ...]], classes: int, *, option: str) -> None:
    for shape in shapes:
        if shape[1:] != (classes,):
            raise UsageError(
                f"{option}: for images {(shape[0], 1, IMAGE_SIZE, IMAGE_SIZE)} it returns {shape}, "
                f"expected logits {(shape[0], classes)}"
            )


def _check_tensors(net: nn.Module, *, option: str) -> None:
    """Check that all weights and buffers can be saved."""
    for name, tensor in net.state_dict().items():
        if not isinstance(tensor, torch.Tensor) or tensor.dtype not in _SAVED_TYPES:
            raise UsageError(f"{option}: {name} has a type that cannot be saved")
        if not tensor.isfinite().all():
            raise UsageError(
                f"{option}: {name} has values that are not finite; register a constant buffer with "
                "persistent=False"
            )


def _describe(error: BaseException, file: Path) -> str:
    """An error in the user's code, with the last line of their file that it passed through."""
    line_numbers = [error.lineno] if isinstance(error, SyntaxError) else []
    trace = error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == file.resolve():
            line_numbers.append(trace.tb_lineno)
        trace = trace.tb_next
    line = f"line {line_numbers[-1]}: " if line_numbers else ""
    return f"{line}{type(error).__name__}: {error}"
