"""The architectures by name, with a summary and the arguments of each; `nn.nets` builds them.

A name is one of `ARCHITECTURES`; `torchvision:NAME`, a classification net of torchvision; or
`FILE.py:CLASS`, an `nn.Module` of the user's (a custom architecture).
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from msgspec import Meta

from mnistctl.errors import UsageError, unknown_name
from mnistctl.settings.setting import Panel, Setting
from mnistctl.types import IMAGE_SIZE

TORCHVISION = "torchvision:"
_DETECTOR_LEVELS = 4  # resolutions, with a width each
MAX_LAYERS, MAX_PARAMETERS = 100, 100_000_000  # of nets with arguments; these train in about 2 GB
DIGIT, NUMBERS = "digit", "numbers"  # tasks: classify an image, find the digits on a page
RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Architecture:
    """What the name of an architecture refers to; made by `parse`."""

    name: str
    file: Path | None = None  # of a custom architecture, FILE.py:CLASS
    class_name: str | None = None

    @classmethod
    def parse(cls, name: str) -> Self:
        """Parse a name; whether the architecture exists is not checked."""
        file, colon, class_name = name.rpartition(":")
        if colon and file.endswith(".py"):
            return cls(name, Path(file), class_name)
        return cls(name)

    @property
    def is_custom(self) -> bool:
        """Whether it is a class in a file of the user's, FILE.py:CLASS."""
        return self.file is not None

    @property
    def is_torchvision(self) -> bool:
        """Whether it is one of torchvision's classification nets."""
        return self.name.startswith(TORCHVISION)

    @functools.cached_property
    def sha256(self) -> str | None:
        """SHA-256 of the custom file; None: not a custom architecture, or the file is not there."""
        from mnistctl.system import files  # hashlib and shutil, 3 ms

        if self.file is None or not self.file.is_file():
            return None
        return files.sha256(files.read_bytes(self.file, error=UsageError))


@dataclass(frozen=True)
class BuiltInNet:
    """A summary of a net, and its arguments with their defaults."""

    summary: str
    arguments: Mapping[str, Any] = field(default_factory=dict)  # name -> default
    task: str = DIGIT  # DIGIT or NUMBERS
    recipe: str = ""  # that trains it; empty: the one with the name of the net


ARCHITECTURES: dict[str, BuiltInNet] = {
    "linear": BuiltInNet("one fully connected layer: multinomial logistic regression"),
    "mlp": BuiltInNet(
        "multilayer perceptron: fully connected layers with ReLU between them",
        {"hidden": (128, 64), "dropout": 0.0, "batch_norm": False},
    ),
    "lenet5": BuiltInNet(
        "LeNet-5 of 1998: two 5×5 convolutions with tanh and average pooling, three dense layers"
    ),
    "cnn": BuiltInNet(
        "convolutions with ReLU and max pooling, then fully connected layers",
        {
            "widths": (24, 32),
            "kernels": (5, 3),
            "strides": (1,),
            "pools": (2,),
            "same_padding": False,
            "batch_norm": False,
            "conv_dropout": 0.0,
            "hidden": (256,),
            "dropout": 0.0,
        },
    ),
    "detector": BuiltInNet(
        "fully convolutional detector of digits, for whole numbers; trained by the recipe 'numbers'",
        {"widths": (24, 40, 64, 96)},
        task=NUMBERS,
        recipe="numbers",
    ),
}

_Sizes = tuple[Annotated[int, Meta(ge=1, le=8192)], ...]
_DECLARATIONS: Mapping[str, Any] = {
    "hidden": Annotated[
        _Sizes, "Sizes of the hidden fully connected layers, such as 256,128.", Panel.MODEL
    ],
    "dropout": Annotated[
        float,
        Meta(ge=0, lt=1),
        "Dropout probability after each hidden fully connected layer.",
        Panel.MODEL,
    ],
    "batch_norm": Annotated[bool, "Batch normalisation.", Panel.MODEL],
    "widths": Annotated[
        _Sizes, Meta(min_length=1), "Channels of each convolution, such as 24,32.", Panel.MODEL
    ],
    "kernels": Annotated[
        _Sizes,
        Meta(min_length=1),
        "Kernel size of each convolution, or one value for all.",
        Panel.MODEL,
    ],
    "strides": Annotated[
        _Sizes, Meta(min_length=1), "Stride of each convolution, or one value for all.", Panel.MODEL
    ],
    "pools": Annotated[
        _Sizes,
        Meta(min_length=1),
        "Max pooling (1 for none) after each convolution, or one value for all.",
        Panel.MODEL,
    ],
    "same_padding": Annotated[
        bool, "Pad the convolutions so that they keep the image size.", Panel.MODEL
    ],
    "conv_dropout": Annotated[
        float, Meta(ge=0, lt=1), "Dropout probability after each pooling layer.", Panel.MODEL
    ],
}
# The arguments of all nets; the default is by architecture.
ARGUMENTS: Mapping[str, Setting] = {
    name: Setting.declare(
        name,
        declaration,
        {arch: net.arguments[name] for arch, net in ARCHITECTURES.items() if name in net.arguments},
    )
    for name, declaration in _DECLARATIONS.items()
}


class Size(NamedTuple):
    """The size of a net for 10 classes."""

    input_size: int  # pixels, width and height; above 28 the model enlarges its images itself
    parameters: int
    multiply_adds: int  # for one image


@functools.cache
def sizes() -> dict[str, Size]:
    """The size of every architecture with its default arguments, from `scripts/build_sizes.py`."""
    text = (Path(__file__).parent / "sizes.json").read_text(encoding="utf-8")
    return {name: Size(*values) for name, values in json.loads(text).items()}


def task_of(name: str) -> str:
    """The task of an architecture: DIGIT or NUMBERS."""
    net = ARCHITECTURES.get(name)
    return net.task if net else DIGIT


def of_task(task: str) -> list[str]:
    """The names of the built-in nets for a task."""
    return [name for name, net in ARCHITECTURES.items() if net.task == task]


def resolve(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a net, checked: these, and the defaults of the others.

    Raises:
        UsageError: the architecture or an argument is unknown, or a value is wrong.
    """
    architecture = Architecture.parse(name)
    if architecture.is_custom:
        return dict(arguments)  # only the class knows its arguments
    if name not in sizes():
        if name in {file.stem for file in RECIPES.glob("*.toml")}:
            raise UsageError(f"'{name}' is a recipe, not an architecture: use '--recipe {name}'")
        raise unknown_name("architecture", name, sizes(), see="mnistctl archs")
    defaults = ARCHITECTURES[name].arguments if name in ARCHITECTURES else {}
    if unknown := sorted(set(arguments) - set(defaults)):
        raise UsageError(
            f"architecture '{name}' takes no argument '{unknown[0]}'; available: "
            f"{', '.join(defaults) or 'none'}"
        )
    for argument, value in arguments.items():
        ARGUMENTS[argument].check(value)
    values = {
        argument: tuple(value) if isinstance(value, list) else value
        for argument, value in {**defaults, **arguments}.items()
    }
    _check_size(name, values)
    return values


def _check_size(name: str, arguments: Mapping[str, Any]) -> None:
    """Check the size of a net before any memory is taken for it.

    Raises:
        UsageError: it has too many layers or parameters, or its convolutions leave no pixel.
    """
    widths, hidden = arguments.get("widths", ()), arguments.get("hidden", ())
    if (layers := len(widths) + len(hidden)) > MAX_LAYERS:
        raise UsageError(f"architecture '{name}': {layers:,} layers; at most {MAX_LAYERS} are allowed")
    parameters, features = 0, IMAGE_SIZE**2
    if task_of(name) == NUMBERS:
        if len(widths) != _DETECTOR_LEVELS:
            raise UsageError(
                f"--widths has {len(widths)} values: architecture '{name}' takes {_DETECTOR_LEVELS}"
            )
        parameters = sum(40 * width**2 for width in widths)  # two residual blocks for each width
    elif widths:
        kernels = per_convolution(arguments, "kernels")
        side = side_after_convolutions(arguments)
        for before, width, kernel in zip((1, *widths), widths, kernels, strict=False):
            parameters += before * width * kernel**2
        features = widths[-1] * side**2
    parameters += sum(before * size for before, size in pairwise((features, *hidden)))
    if parameters > MAX_PARAMETERS:
        raise UsageError(
            f"architecture '{name}': {parameters:,} parameters; at most {MAX_PARAMETERS:,} are "
            f"allowed: use smaller {'--widths or --hidden' if widths else '--hidden'}"
        )


def to_json(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as plain values: a new dict with lists for tuples."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in arguments.items()
    }


def per_convolution(arguments: Mapping[str, Any], name: str) -> list[int]:
    """An argument's value for each convolution of a `cnn`; a single value applies to all."""
    values: list[int] = list(arguments[name])
    return values * len(arguments["widths"]) if len(values) == 1 else values


def side_after_convolutions(arguments: Mapping[str, Any]) -> int:
    """Width and height, in pixels, that the convolutions of a `cnn` leave of 28×28.

    Raises:
        UsageError: no pixel is left, or the arguments differ in length.
    """
    widths = arguments["widths"]
    lists = {name: per_convolution(arguments, name) for name in ("kernels", "strides", "pools")}
    for name, values in lists.items():
        if len(values) != len(widths):
            raise UsageError(
                f"--{name} has {len(values)} values, --widths {len(widths)}: expected as many, or one"
            )
    if arguments["same_padding"] and any(kernel % 2 == 0 for kernel in lists["kernels"]):
        raise UsageError(f"--same-padding requires odd --kernels, not {lists['kernels']}")
    side = IMAGE_SIZE
    for kernel, stride, pool in zip(*lists.values(), strict=True):
        padding = kernel // 2 if arguments["same_padding"] else 0
        side = ((side + 2 * padding - kernel) // stride + 1) // pool
        if side < 1:
            raise UsageError(
                f"architecture 'cnn': its {len(widths)} convolutions leave nothing of "
                f"{IMAGE_SIZE}×{IMAGE_SIZE} pixels; use fewer or smaller ones, or --same-padding"
            )
    return side
