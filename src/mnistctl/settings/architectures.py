"""The nets by name: their arguments and a line on each. No torch here, so that it costs nothing.

A name is one of `ARCHITECTURES`; `torchvision:NAME`, a classification net of torchvision's; or
`FILE.py:CLASS`, a person's own `nn.Module`. `nn.nets` builds them.
"""

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mnistctl.errors import UsageError, look_up, unknown_name
from mnistctl.types import IMAGE_SIZE

TORCHVISION = "torchvision:"

_WIDEST = 8192  # units or channels of a layer


@dataclass(frozen=True)
class Architecture:
    """One line about a net, and the arguments that make another net of it."""

    summary: str
    arguments: Mapping[str, Any] = field(default_factory=dict)  # name -> default


ARCHITECTURES: dict[str, Architecture] = {
    "linear": Architecture("one fully connected layer: multinomial logistic regression"),
    "mlp": Architecture(
        "a multilayer perceptron: fully connected layers with ReLU between them",
        {"hidden": (128, 64), "dropout": 0.0, "batch_norm": False},
    ),
    "lenet5": Architecture(
        "LeNet-5 of 1998: two 5×5 convolutions with tanh and average pooling, three dense layers"
    ),
    "cnn": Architecture(
        "convolutions with ReLU and max pooling, then fully connected layers",
        {
            "widths": (24, 32),  # channels of each convolution
            "kernels": (5, 3),  # pixels; of this and the next three one will do for all convolutions
            "strides": (1,),
            "pools": (2,),  # max pooling after the convolution, in pixels; 1: none
            "same_padding": False,  # keeps the size; otherwise a convolution takes its border off
            "batch_norm": False,
            "conv_dropout": 0.0,  # after each pooling
            "hidden": (256,),  # fully connected layers before the last one
            "dropout": 0.0,  # after each of them
        },
    ),
}

# Arguments of any net, with an example of what they hold.
ARGUMENTS: dict[str, Any] = {
    name: default for known in ARCHITECTURES.values() for name, default in known.arguments.items()
}


class Size(NamedTuple):
    """How large a net is, for 10 classes."""

    input_size: int  # pixels both ways; above 28 the model enlarges its images itself
    parameters: int
    multiply_adds: int  # for one image


@functools.cache
def sizes() -> dict[str, Size]:
    """The size of every architecture as it comes, and of torchvision's; counted by a script."""
    text = (Path(__file__).parent / "sizes.json").read_text(encoding="utf-8")
    return {name: Size(*values) for name, values in json.loads(text).items()}


def is_torchvision(name: str) -> bool:
    """Whether this names a net of torchvision's."""
    return name.startswith(TORCHVISION)


def custom_source(name: str) -> tuple[Path, str] | None:
    """The file and the class that FILE.py:CLASS names; None for any other kind of name."""
    file, colon, class_name = name.rpartition(":")
    return (Path(file), class_name) if colon and file.endswith(".py") else None


def resolve(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a net, checked: its defaults, with these in their place.

    Raises:
        UsageError: the architecture or one of the arguments is unknown, or a value is wrong.
    """
    if custom_source(name) is not None:
        return dict(arguments)  # what the class takes, only the class knows
    if is_torchvision(name):
        look_up("architecture", name, sizes())
        known: Mapping[str, Any] = {}
    else:
        if name not in ARCHITECTURES:
            known_names = [*ARCHITECTURES, f"{TORCHVISION}NAME", "FILE.py:CLASS"]
            raise unknown_name("architecture", name, known_names)
        known = ARCHITECTURES[name].arguments
    if unknown := sorted(set(arguments) - set(known)):
        raise UsageError(
            f"architecture '{name}' takes no argument '{unknown[0]}'; known: "
            f"{', '.join(known) or 'none'}"
        )
    values = {**known, **arguments}
    for argument, value in values.items():
        _check_value(argument, value, known[argument])
    values = {
        argument: tuple(value) if isinstance(value, list) else value
        for argument, value in values.items()
    }
    if name == "cnn":
        side_after_convolutions(values)
    return values


def to_json(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as plain values of their own."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in arguments.items()
    }


def per_convolution(arguments: Mapping[str, Any], name: str) -> list[int]:
    """An argument's value for each convolution of a `cnn`; one value is meant for all of them."""
    values: list[int] = list(arguments[name])
    return values * len(arguments["widths"]) if len(values) == 1 else values


def side_after_convolutions(arguments: Mapping[str, Any]) -> int:
    """Pixels both ways that a `cnn`'s convolutions leave of 28.

    Raises:
        UsageError: none, or the arguments are not of one length.
    """
    widths = arguments["widths"]
    lists = {name: per_convolution(arguments, name) for name in ("kernels", "strides", "pools")}
    for name, values in lists.items():
        if len(values) != len(widths):
            raise UsageError(
                f"--{name} has {len(values)} values, --widths {len(widths)}: expected as many, or one"
            )
    if arguments["same_padding"] and any(kernel % 2 == 0 for kernel in lists["kernels"]):
        raise UsageError(f"--same-padding: takes odd --kernels, not {lists['kernels']}")
    side = IMAGE_SIZE
    for kernel, stride, pool in zip(*lists.values(), strict=True):
        padding = kernel // 2 if arguments["same_padding"] else 0
        side = ((side + 2 * padding - kernel) // stride + 1) // pool
        if side < 1:
            raise UsageError(
                f"architecture 'cnn': nothing is left of {IMAGE_SIZE}×{IMAGE_SIZE} pixels after its "
                f"{len(widths)} convolutions; take fewer, smaller ones, or --same-padding"
            )
    return side


def _check_value(name: str, value: Any, default: Any) -> None:
    option = "--" + name.replace("_", "-")
    checks: dict[type, tuple[Callable[[Any], bool], str]] = {
        bool: (lambda found: isinstance(found, bool), "true or false"),
        float: (
            lambda found: (
                isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found < 1
            ),
            "at least 0 and below 1",
        ),
        tuple: (
            lambda found: (
                isinstance(found, list | tuple)
                and all(type(item) is int and 1 <= item <= _WIDEST for item in found)
                and (len(found) > 0 or name == "hidden")
            ),
            f"whole numbers from 1 to {_WIDEST:,}",
        ),
    }
    holds, expected = checks[type(default)]
    if not holds(value):
        raise UsageError(f"{option} {value}: expected {expected}")
