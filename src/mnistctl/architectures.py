"""The nets by name: their arguments and a line on each. No torch here, so that it costs nothing.

`nn.nets` holds the nets themselves under the same names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mnistctl.errors import UsageError, look_up


@dataclass(frozen=True)
class Architecture:
    """One line about a net, and the arguments that make another net of it."""

    summary: str
    arguments: Mapping[str, Any] = field(default_factory=dict)  # name -> default


ARCHITECTURES: dict[str, Architecture] = {
    "cnn": Architecture(
        "two convolutions with ReLU and max pooling, then two fully connected layers",
        {"widths": [24, 32], "kernels": [5, 3], "hidden": 256, "dropout": 0.0},
    ),
    "mlp": Architecture(
        "a multilayer perceptron: fully connected layers with ReLU between them",
        {"hidden": [128, 64], "dropout": 0.0},
    ),
}


def find(name: str) -> Architecture:
    """The architecture of this name.

    Raises:
        UsageError: there is none; the message names the nearest.
    """
    return look_up("architecture", name, ARCHITECTURES)


def resolve(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a net: its defaults, with these in their place.

    Raises:
        UsageError: the architecture or one of the arguments is unknown.
    """
    known = find(name).arguments
    if unknown := sorted(set(arguments) - set(known)):
        raise UsageError(
            f"architecture '{name}' takes no argument '{unknown[0]}'; known: {', '.join(known)}"
        )
    return {**known, **arguments}
