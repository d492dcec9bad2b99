"""TrainConfig: every choice that decides a training run, checked once, then frozen."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

from mnistctl import architectures
from mnistctl.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Every choice that decides a run; the same config, machine and versions give the same weights.

    Raises:
        UsageError: a name is unknown or a value is out of range.
    """

    arch: str = "cnn"  # a name in architectures.ARCHITECTURES
    arch_args: Mapping[str, Any] = field(default_factory=dict)  # what the net differs in from it
    dataset: str = "mnist"  # a name in datasets.catalog.DATASETS, or a folder of pictures
    device: str = "auto"  # auto | cpu | cuda | cuda:N | mps
    epochs: float = 3  # passes over the training images; a fraction is fine
    min_steps: int = 0  # train at least this many steps, so that a small dataset trains long enough
    batch_size: int = 256  # images a step
    learning_rate: float = 1e-2  # peak of the one-cycle schedule
    weight_decay: float = 1e-2  # AdamW's
    label_smoothing: float = 0.1  # probability spread over all classes, in [0, 1)
    rotate: float = 0.0  # degrees either way, drawn for each image at each step; never a flip
    scale: float = 0.0  # by a factor of up to e^±scale
    shear: float = 0.0  # pixels sideways a pixel of height, either way
    shift: float = 0.0  # pixels either way, on both axes
    seed: int = 0  # weights, order, augmentation and dropout
    init: str | None = None  # the model file whose weights it starts from; None: fresh ones
    init_sha256: str | None = None  # of that model
    split_seed: int = 0  # which images are held out for validation; apart from `seed` on purpose
    validation_size: int | None = None  # images held out of train; None: 1 in 12 (MNIST: 5,000)

    def __post_init__(self) -> None:
        arguments = architectures.resolve(self.arch, self.arch_args)
        object.__setattr__(self, "arch_args", MappingProxyType(arguments))
        self._check("epochs", 0 < self.epochs <= 100_000, "above 0, and at most 100,000")
        self._check("min_steps", self.min_steps >= 0, "0 or more")
        self._check("batch_size", 1 <= self.batch_size <= 65_536, "between 1 and 65,536")
        self._check("learning_rate", 0 < self.learning_rate <= 100, "above 0, and at most 100")
        self._check("weight_decay", 0 <= self.weight_decay <= 100, "between 0 and 100")
        self._check("label_smoothing", 0 <= self.label_smoothing < 1, "at least 0 and below 1")
        self._check("rotate", 0 <= self.rotate <= 180, "between 0 and 180")
        self._check("scale", 0 <= self.scale <= 2, "between 0 and 2")
        self._check("shear", 0 <= self.shear <= 2, "between 0 and 2")
        self._check("shift", 0 <= self.shift <= 28, "between 0 and 28")
        self._check("seed", 0 <= self.seed < 2**63, "between 0 and 2^63 - 1")
        self._check("split_seed", 0 <= self.split_seed < 2**63, "between 0 and 2^63 - 1")
        self._check("validation_size", (self.validation_size or 0) >= 0, "0 or more")

    def _check(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{option} {getattr(self, name)}: expected a value {expected}")

    def replace(self, **changes: Any) -> Self:
        """A copy with some choices changed; a change to None means: as it was."""
        given = {name: value for name, value in changes.items() if value is not None}
        if given.get("arch", self.arch) != self.arch:
            given.setdefault("arch_args", {})
        return dataclasses.replace(self, **given)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `config.json` and the model file."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return values | {"arch_args": dict(self.arch_args)}
