"""The search space of a study: for each searched setting, a range or a list of values."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mnistctl.errors import UsageError
from mnistctl.settings import architectures, train_settings
from mnistctl.settings.setting import Setting
from mnistctl.settings.train_settings import SETTINGS, TrainSettings

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Space = Sequence["Dimension"]

# They decide what is trained on or what the accuracy is measured with, so trials that differ in them
# could not be compared.
FIXED = frozenset(
    {
        *("recipe", "arch", "arch_args", "arch_sha256", "dataset", "device", "init", "init_sha256"),
        *("seed", "split_seed", "validation_size"),
    }
)

_AUGMENTATION = {"rotate": "0..20", "scale": "0..0.2", "shear": "0..0.25", "shift": "0..3"}

# The space of an architecture if the user gives none. Sizes are at most those of its recipe or, for
# `mlp`, a few times as many, so that no trial takes much longer than the recipe.
_DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "linear": {
        "learning_rate": "1e-4..1e-1:log",
        "optimizer": "adam,adamw,sgd",
        "batch_size": "64,128,256,512",
        "weight_decay": "0,1e-5,1e-4,1e-3",
    },
    "mlp": {
        "hidden": "64,128,256,512,128-64,256-128,512-256",
        "learning_rate": "3e-4..3e-2:log",
        "optimizer": "adam,adamw",
        "batch_size": "64,128,256,512",
        "dropout": "0..0.5",
    },
    "lenet5": {
        "learning_rate": "1e-3..3e-2:log",
        "batch_size": "128,256,512",
        "weight_decay": "1e-4..1e-1:log",
        "label_smoothing": "0..0.2",
        **_AUGMENTATION,
    },
    "cnn": {
        "widths": "16-32,24-32",
        "hidden": "128,256",
        "dropout": "0..0.5",
        "learning_rate": "2e-3..3e-2:log",
        "batch_size": "256,384,512",
        "weight_decay": "1e-4..1e-1:log",
        "label_smoothing": "0..0.2",
        **_AUGMENTATION,
    },
    "detector": {
        "learning_rate": "1e-3..1e-2:log",
        "weight_decay": "1e-3..1e-1:log",
        "clip_norm": "1..30:log",
    },
}
_ANY_ARCHITECTURE = {
    "learning_rate": "1e-4..1e-2:log",
    "batch_size": "64,128,256",
    "weight_decay": "1e-4..1e-1:log",
    "label_smoothing": "0..0.2",
}


@dataclass(frozen=True)
class Dimension:
    """A searched setting: `choices`, or a range from `low` to `high`."""

    name: str  # of a setting of training, or of an argument of the net
    choices: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    is_integer: bool = False
    is_log: bool = False
    step: float | None = None

    @classmethod
    def parse(cls, name: str, text: str, setting: Setting | None) -> Self:
        """A dimension from text: `LOW..HIGH`, `LOW..HIGH:log`, `LOW..HIGH:STEP` or `A,B,C`.

        Args:
            name: of the setting.
            text: the values. In the choices of a list, its numbers are joined by hyphens: `64,128-64`.
            setting: its declaration; None: an argument of a custom architecture.

        Raises:
            UsageError: the text cannot be parsed, or a value is wrong.
        """
        if ".." in text:
            return cls._parse_range(name, text, setting)
        items = [item.strip() for item in text.split(",")]
        return cls.of_choices(name, [_parse_choice(name, item, setting) for item in items], setting)

    @classmethod
    def of_choices(cls, name: str, choices: Iterable[Any], setting: Setting | None) -> Self:
        """A dimension with these choices.

        Raises:
            UsageError: there are none or too few, one is there twice, or one is wrong.
        """
        values = [tuple(choice) if isinstance(choice, list) else choice for choice in choices]
        if len(values) < 2 or len({text_of(value) for value in values}) < len(values):
            raise UsageError(
                f"--search {name}={','.join(map(text_of, values))}: expected two or more values, all "
                "different"
            )
        for value in values:
            if setting is not None:
                _check(setting, value)
        return cls(name, tuple(values))

    @classmethod
    def _parse_range(cls, name: str, text: str, setting: Setting | None) -> Self:
        shown = f"--search {name}={text}"
        match = re.fullmatch(r"([^.:]*\.?[^.:]*)\.\.([^:]*)(?::(.+))?", text.strip())
        numbers = [_number(item) for item in match.groups()[:2]] if match else [None]
        if match is None or None in numbers:
            raise UsageError(f"{shown}: expected LOW..HIGH, LOW..HIGH:log or LOW..HIGH:STEP")
        low, high = (number for number in numbers if number is not None)
        if not low < high:
            raise UsageError(f"{shown}: an empty range; expected the lower number first")
        is_integer = isinstance(low, int) and isinstance(high, int)
        if setting is not None:
            if setting.type not in (int, float):
                raise UsageError(f"{shown}: {name} takes {setting.type_text}: list values, as in A,B,C")
            is_integer = setting.type is int
            for value in (low, high):
                _check(setting, value)
        is_log = match[3] == "log"
        if is_log and low <= 0:
            raise UsageError(f"{shown}: a logarithmic range needs numbers above 0")
        step = None if is_log or match[3] is None else _number(match[3])
        if match[3] is not None and not is_log and (step is None or not 0 < step <= high - low):
            raise UsageError(f"{shown}: expected 'log' or a step up to {high - low:g} after the colon")
        if is_integer and isinstance(step, float):
            raise UsageError(f"{shown}: {name} takes whole numbers, and so must its step be")
        return cls(name, (), low, high, is_integer, is_log, step)

    def distribution(self) -> "BaseDistribution":
        """Optuna's description of the dimension. Lists are represented by their texts."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution([_label(choice) for choice in self.choices])
        if self.is_integer:
            return IntDistribution(
                int(self.low), int(self.high), log=self.is_log, step=int(self.step or 1)
            )
        return FloatDistribution(self.low, self.high, log=self.is_log, step=self.step)

    def grid(self) -> list[Any]:
        """All values, as Optuna names them, for the sampler 'grid'.

        Raises:
            UsageError: a range without a step has no list of values.
        """
        if self.choices:
            return [_label(choice) for choice in self.choices]
        step = self.step or (1 if self.is_integer and not self.is_log else None)
        if step is None:
            raise UsageError(
                f"--search {self.name}={self.to_json()}: --sampler grid needs lists of values or a step"
            )
        count = int((self.high - self.low) / step + 1e-9) + 1
        return [self.low + step * number for number in range(count)]

    def value(self, label: Any) -> Any:
        """The value of the setting for a value that Optuna has chosen."""
        return {_label(choice): choice for choice in self.choices}.get(label, label)

    def contains(self, value: Any) -> bool:
        """Whether a value of the setting is in the range or among the choices."""
        if self.choices:
            return value in self.choices
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return self.step is None or ((value - self.low) / self.step) % 1 == 0

    def label(self, value: Any) -> Any:
        """What Optuna calls a value of the setting."""
        return _label(value)

    def to_json(self) -> str:
        """The dimension as text that `parse` reads."""
        if self.choices:
            exact = (repr(item) if isinstance(item, float) else text_of(item) for item in self.choices)
            return ",".join(exact)
        suffix = ":log" if self.is_log else "" if self.step is None else f":{self.step!r}"
        return f"{self.low!r}..{self.high!r}{suffix}"


def resolve(
    searches: Sequence[str] | Mapping[str, Any], settings: TrainSettings
) -> tuple[Dimension, ...]:
    """The search space that the user has described, or the default one of the architecture.

    Args:
        searches: texts NAME=VALUES, or values by name: a text as in `Dimension.parse`, or a list of
            choices. Empty: the default space.
        settings: of all trials, where they are not searched.

    Raises:
        UsageError: a setting is unknown or cannot be searched, or its values are wrong.
    """
    named = searches if isinstance(searches, Mapping) else dict(map(_split, searches))
    if len(named) < len(searches):
        raise UsageError("--search: a setting is given twice")
    if not named:
        named = _DEFAULTS.get(settings.arch, _ANY_ARCHITECTURE)
    space = []
    for name, values in named.items():
        name = name.replace("-", "_")
        setting = _find(name, settings)
        if isinstance(values, str):
            space.append(Dimension.parse(name, values, setting))
        elif isinstance(values, Sequence):
            space.append(Dimension.of_choices(name, values, setting))
        else:
            raise UsageError(f"--search {name}={values}: expected a text or a list of values")
    for dimension in space:  # each choice alone must be possible; combinations are checked in trials
        for value in dimension.choices or (dimension.low, dimension.high):
            apply(settings, {dimension.name: value})
    return tuple(space)


def read(path: Path) -> Mapping[str, Any]:
    """The table [search] of a settings file; empty: it has none.

    Raises:
        UsageError: the file cannot be read, or `search` is no table.
    """
    table = train_settings.read_table(path).get("search", {})
    if not isinstance(table, dict):
        raise UsageError(f"--config {path}: search: expected a table, [search]")
    return table


def apply(settings: TrainSettings, values: Mapping[str, Any]) -> TrainSettings:
    """Settings with the values of a trial.

    Raises:
        UsageError: the values are not possible together.
    """
    known = {name: value for name, value in values.items() if not _is_custom(name, settings)}
    custom = {name: value for name, value in values.items() if _is_custom(name, settings)}
    if custom:
        known["arch_args"] = {**settings.arch_args, **custom}
    if "epochs" in values:  # the length of the trial, without the recipe's minimum
        known["min_steps"] = 0
    return settings.replace(**known)


def values_in(settings: TrainSettings, space: Space) -> dict[str, Any]:
    """The values that settings have of the searched settings, as far as the space contains them."""
    values = {
        dimension.name: getattr(settings, dimension.name, settings.arch_args.get(dimension.name))
        for dimension in space
    }
    return {
        dimension.name: values[dimension.name]
        for dimension in space
        if dimension.contains(values[dimension.name])
    }


def text_of(value: Any) -> str:
    """A value of a setting as it is typed in `--search` and shown in tables."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return "-".join(map(str, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _label(value: Any) -> Any:
    return text_of(value) if isinstance(value, tuple | list) else value


def _split(search: str) -> tuple[str, str]:
    name, equals, values = search.partition("=")
    if not equals or not name or not values:
        raise UsageError(
            f"--search {search}: expected NAME=VALUES, such as learning_rate=1e-4..1e-1:log or "
            "hidden=64,128"
        )
    return name.strip(), values


def _is_custom(name: str, settings: TrainSettings) -> bool:
    """Whether this is an argument of a custom architecture, which only its class knows."""
    is_custom = architectures.Architecture.parse(settings.arch).is_custom
    return is_custom and name not in SETTINGS


def _find(name: str, settings: TrainSettings) -> Setting | None:
    """The declaration of a setting; None: an argument of a custom architecture."""
    if name in FIXED:
        raise UsageError(f"--search {name}: this setting is the same for all trials of a study")
    if _is_custom(name, settings):
        if not name.isidentifier():
            raise UsageError(f"--search {name}: not the name of an argument")
        return None
    if name in SETTINGS:
        return SETTINGS[name]
    if name in settings.arch_args:
        return architectures.ARGUMENTS[name]
    if name in architectures.ARGUMENTS:
        available = ", ".join(settings.arch_args) or "none"
        raise UsageError(
            f"--search {name}: architecture '{settings.arch}' takes no argument '{name}'; available: "
            f"{available}"
        )
    raise UsageError(f"--search {train_settings.unknown_setting(name)}")


def _check(setting: Setting, value: Any) -> None:
    try:
        setting.check(value)
    except UsageError as error:
        reason = str(error).partition(": ")[2] or str(error)  # without the option of `train`
        raise UsageError(f"--search {setting.name}={text_of(value)}: {reason}") from None


def _parse_choice(name: str, text: str, setting: Setting | None) -> Any:
    """The value that a text in a list of choices stands for."""
    kind = setting.type if setting is not None else None
    if kind is bool:
        if text not in ("true", "false"):
            raise UsageError(f"--search {name}: '{text}': expected true or false")
        return text == "true"
    if kind is tuple:
        sizes = [] if text == "none" else [_number(item) for item in text.split("-")]
        if not all(isinstance(size, int) for size in sizes):
            raise UsageError(
                f"--search {name}: '{text}': expected whole numbers, such as 128 or 128-64"
            )
        return tuple(sizes)
    number = _number(text)
    if number is None and kind in (int, float):
        raise UsageError(f"--search {name}: '{text}': expected a number")
    return text if number is None or kind not in (int, float, None) else number


def _number(text: str) -> int | float | None:
    """A finite number; None: it is none."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None
