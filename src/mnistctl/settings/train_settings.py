"""TrainSettings: all settings of a training run, declared and checked in one place."""

import dataclasses
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self, get_args

from msgspec import Meta

from mnistctl.errors import UsageError, unknown_name
from mnistctl.settings import architectures
from mnistctl.settings.setting import Panel, Setting
from mnistctl.system import files, records

Precision = Literal["auto", "float32", "bf16"]
Optimizer = Literal["sgd", "adam", "adamw", "rmsprop", "adadelta"]
Schedule = Literal["constant", "step", "cosine", "one-cycle"]
PRECISIONS: tuple[str, ...] = get_args(Precision)

# The defaults that come with a change of optimizer or schedule; a field that is not listed has no
# effect there (see `without_effect`). Adam's are PyTorch's own; SGD's are usual for nets of this size.
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

MODEL, TRAINING, AUGMENTATION, DATA, RUN = Panel


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """All settings that decide a run: the same settings, machine and versions give the same weights.

    Each field declares its type, range, default and help. The options of `train`, the keys of a
    settings file, the checks and the reference table derive from it. A field without a panel has no
    option.

    Raises:
        UsageError: a name is unknown, or a value is of the wrong type or out of range.
    """

    recipe: Annotated[
        str | None,
        Meta(extra={"default": "the recipe named like the architecture, if any"}),
        "Recipe to start from; see 'mnistctl recipes'. Other options override its settings.",
        MODEL,
    ] = None
    arch: Annotated[
        str,
        Meta(extra={"default": "the recipe's, or cnn"}),
        "Architecture: linear, mlp, lenet5, cnn, torchvision:NAME, or FILE.py:CLASS for a custom "
        "architecture. mnistctl executes the file.",
        MODEL,
    ] = "cnn"
    arch_args: Mapping[str, Any] = field(default_factory=dict)  # complete once constructed
    arch_sha256: str | None = None  # of the file of a custom architecture
    dataset: Annotated[
        str,
        Meta(extra={"default": "mnist, or digits if mnist cannot be downloaded"}),
        "Dataset to train on: a name from 'mnistctl download --list', or a folder of pictures. For "
        "numbers the folder has a labels.csv, and --init names the detector to adapt.",
        DATA,
    ] = "mnist"
    subset: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(extra={"default": "all"}),
        "Train on this many of the training images.",
        DATA,
    ] = None
    device: Annotated[str, "Device: cpu, cuda, cuda:N, mps, or auto, which is the default.", RUN] = (
        "auto"
    )
    precision: Annotated[
        Precision, "Training precision; auto uses bf16 where the hardware supports it.", TRAINING
    ] = "auto"
    epochs: Annotated[
        float,
        Meta(gt=0, le=100_000),
        "Passes over the training images; fractions are allowed.",
        TRAINING,
    ] = 5
    min_steps: Annotated[
        int,
        Meta(ge=0, le=10**7),
        "Minimum number of steps, so that small datasets train long enough.",
        TRAINING,
    ] = 0
    patience: Annotated[
        int,
        Meta(ge=0),
        "Stop after this many epochs without better validation accuracy; 0 never stops early.",
        TRAINING,
    ] = 0
    batch_size: Annotated[int, Meta(ge=1, le=65_536), "Images per step.", TRAINING] = 64
    optimizer: Annotated[
        Optimizer, "Optimizer; a change resets the learning rate, momentum and weight decay.", TRAINING
    ] = "adam"
    learning_rate: Annotated[float, Meta(gt=0, le=100), "Peak learning rate.", TRAINING] = 1e-3
    momentum: Annotated[
        float, Meta(ge=0, lt=1), "Momentum of SGD and RMSprop; β1 of Adam and AdamW.", TRAINING
    ] = 0.9
    nesterov: Annotated[
        bool, "Nesterov momentum. Requires --optimizer sgd and a momentum above 0.", TRAINING
    ] = False
    beta2: Annotated[
        float,
        Meta(ge=0, lt=1),
        "Decay of the mean squared gradient: β2 of Adam, α of RMSprop, ρ of Adadelta.",
        TRAINING,
    ] = 0.999
    weight_decay: Annotated[
        float, Meta(ge=0, le=100), "Weight decay; AdamW decouples it from the gradient.", TRAINING
    ] = 0.0
    clip_norm: Annotated[
        float,
        Meta(ge=0),
        "Maximum gradient norm. Larger gradients are scaled down to it; 0 disables clipping.",
        TRAINING,
    ] = 0.0
    schedule: Annotated[Schedule, "Learning-rate schedule; a change resets the warm-up.", TRAINING] = (
        "constant"
    )
    warmup: Annotated[
        float, Meta(ge=0, lt=1), "Fraction of the steps in which the learning rate rises.", TRAINING
    ] = 0.0
    step_epochs: Annotated[
        float, Meta(gt=0, le=100_000), "Epochs between decays, for --schedule step.", TRAINING
    ] = 1.0
    gamma: Annotated[
        float,
        Meta(gt=0, le=1),
        "Factor by which each decay multiplies the learning rate, for --schedule step.",
        TRAINING,
    ] = 0.7
    label_smoothing: Annotated[
        float, Meta(ge=0, lt=1), "Probability spread evenly over all classes.", TRAINING
    ] = 0.0
    ema: Annotated[
        float,
        Meta(ge=0, lt=1),
        "Per-step decay of an exponential moving average of the weights. The averaged weights become "
        "the model; 0 disables it.",
        TRAINING,
    ] = 0.0
    rotate: Annotated[
        float,
        Meta(ge=0, le=180),
        "Random rotation of up to this many degrees either way.",
        AUGMENTATION,
    ] = 0.0
    scale: Annotated[
        float,
        Meta(ge=0, le=2),
        "Random zoom in or out; 0.1 gives factors from 0.90 to 1.11.",
        AUGMENTATION,
    ] = 0.0
    shear: Annotated[
        float,
        Meta(ge=0, le=2),
        "Random slant of up to this many pixels sideways per pixel of height.",
        AUGMENTATION,
    ] = 0.0
    shift: Annotated[
        float,
        Meta(ge=0, le=28),
        "Random shift of up to this many pixels either way, on both axes.",
        AUGMENTATION,
    ] = 0.0
    elastic: Annotated[
        float,
        Meta(ge=0, le=28),
        "Root-mean-square size, in pixels, of a random smooth distortion.",
        AUGMENTATION,
    ] = 0.0
    thickness: Annotated[
        float,
        Meta(ge=0, le=1),
        "Randomly thicken or thin strokes by up to this many pixels on each side.",
        AUGMENTATION,
    ] = 0.0
    noise: Annotated[
        float,
        Meta(ge=0, le=1),
        "Maximum standard deviation of added Gaussian noise; 1 is the full black-to-white range.",
        AUGMENTATION,
    ] = 0.0
    erase: Annotated[
        float,
        Meta(ge=0, le=1),
        "Probability that a random rectangle of an image is blanked.",
        AUGMENTATION,
    ] = 0.0
    variants: Annotated[
        int,
        Meta(ge=0, le=1_000_000),
        "Images of digits in other handwriting and in print, drawn from templates and fonts, that are "
        "added to the training images, with those of the dataset 'digits'. Only for the ten digits.",
        AUGMENTATION,
    ] = 0
    seed: Annotated[
        int,
        Meta(ge=0, le=2**63 - 1),
        "Seed of the weights, batch order, augmentation and dropout.",
        TRAINING,
    ] = 0
    init: Annotated[
        str | None,
        Meta(extra={"default": "random weights"}),
        "Start from the weights of a model: a file, a run folder, the name of a run, or 'bundled'.",
        MODEL,
    ] = None
    init_sha256: str | None = None  # of the model that `init` names
    # Separate from `seed`, so that runs with different seeds hold out the same images.
    split_seed: Annotated[
        int,
        Meta(ge=0, le=2**63 - 1),
        "Seed of the train/validation split. Consecutive seeds hold out different images.",
        DATA,
    ] = 0
    validation_size: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(extra={"default": "1 in 12"}),
        "Training images to hold out for validation.",
        DATA,
    ] = None

    def __post_init__(self) -> None:
        check(vars(self))
        arguments = architectures.resolve(self.arch, self.arch_args)
        for name, value in {**vars(self), **arguments}.items():
            try:
                records.check_plain({name: value})
            except ValueError as error:
                raise UsageError(f"--{name.replace('_', '-')}: {error}") from None
        object.__setattr__(self, "arch_args", MappingProxyType(arguments))
        if self.nesterov and not (self.optimizer == "sgd" and self.momentum):
            raise UsageError("--nesterov requires --optimizer sgd and --momentum above 0")

    def replace(self, **changes: Any) -> Self:
        """A copy with some settings changed; a setting that is None stays as it is.

        The arguments of the net are accepted among the settings. A change of optimizer, schedule or
        architecture resets what belongs to it: the learning rate, the warm-up, the net's arguments.

        Raises:
            UsageError: a setting is unknown, or a value is wrong.
        """
        changes = {name: value for name, value in changes.items() if value is not None}
        check(changes)
        arch_args = {name: changes.pop(name) for name in list(changes) if name not in SETTINGS}
        if unknown := sorted(set(arch_args) - set(architectures.ARGUMENTS)):
            raise unknown_setting(unknown[0])
        arch = changes.get("arch", self.arch)
        kept = self.arch_args if arch == self.arch else {}
        changes["arch_args"] = {**kept, **changes.get("arch_args", {}), **arch_args}
        if arch != self.arch:
            changes.setdefault("arch_sha256", None)
        for name, registry in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            value = changes.get(name, getattr(self, name))
            if value != getattr(self, name):
                if name == "optimizer":
                    changes.setdefault("nesterov", False)
                changes = {**registry[value], **changes}
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `config.json` and the model file."""
        values = {name: getattr(self, name) for name in SETTINGS}
        return values | {"arch_args": architectures.to_json(self.arch_args)}


SETTINGS: Mapping[str, Setting] = {
    item.name: Setting.declare(item.name, item.type, item.default)
    for item in dataclasses.fields(TrainSettings)
}
# The settings and arguments of nets that have an option, by panel.
OPTIONS: Mapping[str, Setting] = {
    name: setting
    for panel in Panel
    for name, setting in {**SETTINGS, **architectures.ARGUMENTS}.items()
    if setting.panel is panel
}


def read_table(path: Path) -> dict[str, Any]:
    """The content of a settings file, TOML or the `config.json` of a run; nothing is checked.

    Raises:
        UsageError: the file cannot be read, or is in neither format.
    """
    import tomllib  # 1 ms, which `--help` does without

    try:
        text = files.read_text(path, UsageError)
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except UsageError as error:
        raise UsageError(f"--config {error}") from error
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise UsageError(f"--config {path}: not {kind} ({error})") from error
    if not isinstance(values, dict):
        raise UsageError(f"--config {path}: expected a table of settings")
    return values


def read(path: Path, *, without: Collection[str] = ()) -> dict[str, Any]:
    """Settings from a file: TOML, or the `config.json` of a run.

    Args:
        path: of the file.
        without: keys that are no settings, and are left out.

    Raises:
        UsageError: the file cannot be read, is in neither format, or a value is wrong.
    """
    values = {name: value for name, value in read_table(path).items() if name not in without}
    for name, value in values.items():
        if name not in SETTINGS and name not in architectures.ARGUMENTS:
            raise UsageError(f"--config {path}: {unknown_setting(name)}")
        try:
            records.check_plain({name: value})
            json.dumps(value)
        except (TypeError, ValueError) as error:  # TypeError: a date
            raise UsageError(f"--config {path}: {name}: {error}") from error
        try:
            check({} if value is None else {name: value})
        except UsageError as error:
            key = str(error).replace(SETTINGS[name].option, name, 1)
            raise UsageError(f"--config {path}: {key}") from None
    return values


def unknown_setting(name: str) -> UsageError:
    """The error for a name that is no setting; it suggests the nearest one."""
    names = [*SETTINGS, *architectures.ARGUMENTS]
    return unknown_name("setting", name, names, see="mnistctl train --help")


def without_effect(settings: TrainSettings, names: Iterable[str]) -> list[str]:
    """Why some of these settings have no effect, as `step_epochs` has none without --schedule step."""
    return [
        f"{SETTINGS[name].option} has no effect with --{kind} {value}"
        for kind, registry in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES))
        for name in names
        if any(name in defaults for defaults in registry.values())
        and name not in registry[value := getattr(settings, kind)]
    ]


def check(values: Mapping[str, Any]) -> None:
    """Check the values of settings; unknown names are left to `TrainSettings.replace`.

    Raises:
        UsageError: a value is of the wrong type, out of range or not among the choices.
    """
    for name, value in values.items():
        if name in SETTINGS:
            SETTINGS[name].check(value)
