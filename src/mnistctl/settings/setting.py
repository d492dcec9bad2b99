"""A setting, read from its declaration: type, range, default, help and panel.

A declaration is a type annotated with its range (`msgspec.Meta`), its help and the panel of `--help`
that shows its option: `Annotated[float, Meta(ge=0, le=180), "Random rotation of …", AUGMENTATION]`. The
check, the option and the row of the reference table derive from it.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from msgspec import Meta, convert

from mnistctl.errors import UsageError, unknown_name

_KINDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    tuple: "whole numbers",
    Mapping: "a table",
}


class Panel(Enum):
    """The panels of `train --help` that show settings."""

    MODEL = "Model"
    TRAINING = "Training"
    AUGMENTATION = "Augmentation"
    DATA = "Data"
    RUN = "Run"


@dataclass(frozen=True)
class Setting:
    """A setting of training, or an argument of a net."""

    name: str
    declaration: Any
    default: Any

    @property
    def option(self) -> str:
        """The option on the command line, such as `--learning-rate`."""
        return "--" + self.name.replace("_", "-")

    @property
    def type(self) -> Any:
        """The type, without None: int, float, bool, str, tuple, Mapping or a Literal."""
        return self._parts[0]

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed values; empty: every value of the type in the range."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    @property
    def panel(self) -> Panel | None:
        """The panel of `--help` that shows the option; None: the setting has no option."""
        return next((part for part in self._parts if isinstance(part, Panel)), None)

    @property
    def help(self) -> str:
        """What the setting does."""
        return next((part for part in self._parts if isinstance(part, str)), "")

    @property
    def default_note(self) -> str | None:
        """What happens without the setting, where its default does not tell."""
        extras = (meta.extra for meta in self._metas() if meta.extra)
        return next((extra["default"] for extra in extras), None)

    @property
    def range_text(self) -> str:
        """The range in words; empty: none."""
        low = high = ""
        for meta in self._metas():
            if meta.ge is not None:
                low = f"at least {_number(meta.ge)}"
            if meta.gt is not None:
                low = f"above {_number(meta.gt)}"
            if meta.le is not None:
                high = f"at most {_number(meta.le)}"
            if meta.lt is not None:
                high = f"below {_number(meta.lt)}"
        if low.startswith("at least ") and high.startswith("at most "):
            return f"from {low.removeprefix('at least ')} to {high.removeprefix('at most ')}"
        return " and ".join(filter(None, (low, high)))

    @property
    def type_text(self) -> str:
        """The type in words."""
        return _KINDS[str if self.choices else self.type].removeprefix("a ")

    def check(self, value: Any) -> None:
        """Check a value.

        Raises:
            UsageError: it is of the wrong type, out of range or not among the choices.
        """
        if self.choices and isinstance(value, str) and value not in self.choices:
            raise unknown_name(self.name.replace("_", " "), value, self.choices)
        try:
            convert(value, self.declaration)
        except ValueError:
            shown = f"{value:g}" if isinstance(value, float) else value
            raise UsageError(f"{self.option} {shown}: expected {self._expected()}") from None

    def _expected(self) -> str:
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        kind = _KINDS[self.type]
        if any(meta.min_length for meta in self._metas()):
            kind = f"one or more {kind}"
        if self.range_text.startswith("at least"):
            kind += " of"
        return f"{kind} {self.range_text}".rstrip()

    @functools.cached_property
    def _parts(self) -> list[Any]:
        return _parts(self.declaration)

    def _metas(self) -> Iterator[Meta]:
        return (part for part in self._parts if isinstance(part, Meta))


def _parts(declaration: Any) -> list[Any]:
    """The type without None, then all annotations, those of the items of a tuple included."""
    origin = get_origin(declaration)
    if origin is Annotated:
        return [*_parts(declaration.__origin__), *declaration.__metadata__]
    if origin in (Union, UnionType):
        return _parts(next(item for item in get_args(declaration) if item is not NoneType))
    if origin is tuple:
        return [tuple, *_parts(get_args(declaration)[0])[1:]]
    return [declaration if origin is Literal else origin or declaration]


def _number(value: float) -> str:
    return "2^63 - 1" if value == 2**63 - 1 else f"{value:,}"
