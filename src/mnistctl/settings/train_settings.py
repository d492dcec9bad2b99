"""TrainSettings: every choice that decides a training run, checked once, then frozen."""

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, Self, get_args, get_type_hints

from mnistctl.errors import UsageError, look_up, unknown_name
from mnistctl.settings import architectures

PRECISIONS = ("auto", "float32", "bf16")

# What each of these starts with when a run changes to it; where a field is not listed it is of no
# account. Adam's are PyTorch's own; SGD's are usual for nets of this size.
OPTIMIZERS: dict[str, Mapping[str, Any]] = {
    "sgd": {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.0},
    "adam": {"learning_rate": 1e-3, "momentum": 0.9, "beta2": 0.999, "weight_decay": 0.0},
    "adamw": {"learning_rate": 1e-3, "momentum": 0.9, "beta2": 0.999, "weight_decay": 1e-2},
    "rmsprop": {"learning_rate": 1e-3, "momentum": 0.0, "beta2": 0.99, "weight_decay": 0.0},
    "adadelta": {"learning_rate": 1.0, "beta2": 0.9, "weight_decay": 0.0},
}
SCHEDULES: dict[str, Mapping[str, Any]] = {
    "constant": {"warmup": 0.0},
    "step": {"warmup": 0.0, "step_epochs": 1.0, "gamma": 0.7},
    "cosine": {"warmup": 0.0},
    "one-cycle": {"warmup": 0.25},
}


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Every choice that decides a run; the same config, machine and versions give the same weights.

    Raises:
        UsageError: a name is unknown, or a value is of the wrong type or out of range.
    """

    recipe: str | None = None  # where these settings began
    arch: str = "cnn"  # as architectures has them
    arch_args: Mapping[str, Any] = field(default_factory=dict)  # what the net differs in from it
    arch_sha256: str | None = None  # of the file, when `arch` is a person's own class
    dataset: str = "mnist"  # a name in datasets.catalog.DATASETS, or a folder of pictures
    subset: int | None = None  # train on so many of the training images; None: all
    device: str = "auto"  # auto | cpu | cuda | cuda:N | mps
    precision: str = "auto"  # of training steps: float32, bf16, or auto: bf16 where it is faster
    epochs: float = 5  # passes over the training images; a fraction is fine
    min_steps: int = 0  # train at least this many steps, so that a small dataset trains long enough
    patience: int = 0  # stop after so many epochs without a better one on validation; 0: never
    batch_size: int = 64  # images a step
    optimizer: str = "adam"  # a name in OPTIMIZERS
    learning_rate: float = 1e-3  # the schedule's highest
    momentum: float = 0.9  # of SGD and RMSprop; Adam's β1
    nesterov: bool = False  # SGD looks ahead
    beta2: float = 0.999  # decay of the mean squared gradient: Adam's β2, RMSprop's α, Adadelta's ρ
    weight_decay: float = 0.0  # AdamW's is decoupled from the gradient, the others' is not
    clip_norm: float = 0.0  # gradients are scaled to at most this norm; 0: as they are
    schedule: str = "constant"  # a name in SCHEDULES
    warmup: float = 0.0  # share of the steps over which the learning rate rises, in [0, 1)
    step_epochs: float = 1.0  # of "step": epochs between two falls
    gamma: float = 0.7  # of "step": what each fall multiplies the learning rate by
    label_smoothing: float = 0.0  # probability spread over all classes, in [0, 1)
    ema: float = 0.0  # decay a step of the averaged weights, which are the model then; 0: none
    rotate: float = 0.0  # degrees either way, drawn for each image at each step; never a flip
    scale: float = 0.0  # by a factor of up to e^±scale
    shear: float = 0.0  # pixels sideways a pixel of height, either way
    shift: float = 0.0  # pixels either way, on both axes
    elastic: float = 0.0  # pixels, root mean square, of a smooth displacement
    thickness: float = 0.0  # pixels, at most, that strokes grow or shrink by on every side
    noise: float = 0.0  # of black to white: the most standard deviation of noise, drawn for each image
    erase: float = 0.0  # probability that a rectangle of an image is blanked
    seed: int = 0  # weights, order, augmentation and dropout
    init: str | None = None  # the model file whose weights it starts from; None: fresh ones
    init_sha256: str | None = None  # of that model
    split_seed: int = 0  # which images are held out for validation; apart from `seed` on purpose
    validation_size: int | None = None  # images held out of train; None: 1 in 12 (MNIST: 5,000)

    def __post_init__(self) -> None:
        check_types(vars(self))
        arguments = architectures.resolve(self.arch, self.arch_args)
        object.__setattr__(self, "arch_args", MappingProxyType(arguments))
        if self.precision not in PRECISIONS:
            raise unknown_name("precision", self.precision, PRECISIONS)
        look_up("optimizer", self.optimizer, OPTIMIZERS)
        look_up("schedule", self.schedule, SCHEDULES)
        self._check("subset", self.subset is None or self.subset >= 1, "1 or more")
        self._check("epochs", 0 < self.epochs <= 100_000, "above 0, and at most 100,000")
        self._check("min_steps", 0 <= self.min_steps <= 10**7, "between 0 and 10,000,000")
        self._check("patience", self.patience >= 0, "0 or more")
        self._check("batch_size", 1 <= self.batch_size <= 65_536, "between 1 and 65,536")
        self._check("learning_rate", 0 < self.learning_rate <= 100, "above 0, and at most 100")
        self._check("momentum", 0 <= self.momentum < 1, "at least 0 and below 1")
        self._check("beta2", 0 <= self.beta2 < 1, "at least 0 and below 1")
        self._check("weight_decay", 0 <= self.weight_decay <= 100, "between 0 and 100")
        self._check("clip_norm", self.clip_norm >= 0, "0 or more")
        self._check("warmup", 0 <= self.warmup < 1, "at least 0 and below 1")
        self._check("step_epochs", 0 < self.step_epochs <= 100_000, "above 0, and at most 100,000")
        self._check("gamma", 0 < self.gamma <= 1, "above 0, and at most 1")
        self._check("label_smoothing", 0 <= self.label_smoothing < 1, "at least 0 and below 1")
        self._check("ema", 0 <= self.ema < 1, "at least 0 and below 1")
        self._check("rotate", 0 <= self.rotate <= 180, "between 0 and 180")
        self._check("scale", 0 <= self.scale <= 2, "between 0 and 2")
        self._check("shear", 0 <= self.shear <= 2, "between 0 and 2")
        self._check("shift", 0 <= self.shift <= 28, "between 0 and 28")
        self._check("elastic", 0 <= self.elastic <= 28, "between 0 and 28")
        self._check("thickness", 0 <= self.thickness <= 1, "between 0 and 1")
        self._check("noise", 0 <= self.noise <= 1, "between 0 and 1")
        self._check("erase", 0 <= self.erase <= 1, "between 0 and 1")
        self._check("seed", 0 <= self.seed < 2**63, "between 0 and 2^63 - 1")
        self._check("split_seed", 0 <= self.split_seed < 2**63, "between 0 and 2^63 - 1")
        self._check("validation_size", (self.validation_size or 0) >= 0, "0 or more")
        if self.nesterov and not (self.optimizer == "sgd" and self.momentum):
            raise UsageError("--nesterov: takes --optimizer sgd with --momentum above 0")

    def _check(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{option} {getattr(self, name)}: expected a value {expected}")

    def replace(self, **changes: Any) -> Self:
        """A copy with some choices changed; a change to None means: as it was.

        The arguments of the net may stand among the others. What belongs to a choice goes back to
        its default when that choice changes: a learning rate with the optimizer, a warm-up with the
        schedule, the net's arguments with the net.

        Raises:
            UsageError: there is no such choice, or a value is wrong.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        names = [item.name for item in dataclasses.fields(self)]
        arch_args = {name: given.pop(name) for name in list(given) if name not in names}
        if unknown := sorted(set(arch_args) - set(architectures.ARGUMENTS)):
            raise unknown_name("setting", unknown[0], [*names, *architectures.ARGUMENTS])
        arch = given.get("arch", self.arch)
        kept = self.arch_args if arch == self.arch else {}
        given["arch_args"] = {**kept, **given.get("arch_args", {}), **arch_args}
        if arch != self.arch:
            given.setdefault("arch_sha256", None)
        for choice, registry in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            changed = given.get(choice, getattr(self, choice))
            if changed != getattr(self, choice):
                if choice == "optimizer":
                    given.setdefault("nesterov", False)
                given = {**look_up(choice, changed, registry), **given}
        return dataclasses.replace(self, **given)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `config.json` and the model file."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return values | {"arch_args": architectures.to_json(self.arch_args)}


def read(path: Path) -> dict[str, Any]:
    """Settings from a file: TOML, or the `config.json` of a run.

    Raises:
        UsageError: it cannot be read, is neither, or a value is of the wrong type.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise UsageError(f"--config {path}: not {kind} ({error})") from error
    if not isinstance(values, dict):
        raise UsageError(f"--config {path}: expected a table of settings")
    try:
        json.dumps(values)
    except TypeError as error:  # a date
        raise UsageError(f"--config {path}: {error}") from error
    check_types({name: value for name, value in values.items() if value is not None})
    return values


def check_types(values: Mapping[str, Any]) -> None:
    """Check that settings are of the types that `TrainSettings` has for them.

    Raises:
        UsageError: one is not.
    """
    hints = get_type_hints(TrainSettings)
    for name, value in values.items():
        if name in hints and not _is_a(value, hints[name]):
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{option} {value}: expected {_described(hints[name])}")


def _is_a(value: Any, hint: Any) -> bool:
    """Whether a value is what a field's annotation says; a whole number will do for a float."""
    if isinstance(hint, UnionType):
        return any(_is_a(value, part) for part in get_args(hint))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (bool, str, type(None)):
        return isinstance(value, hint)
    return isinstance(value, Mapping)


def _described(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return next((names[kind] for kind in kinds if kind in names), "a table")
