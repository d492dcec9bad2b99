"""A setting, read from its declaration: type, range, default, help and panel.

A declaration is a type annotated with its range (`msgspec.Meta`), its help and the panel of `--help`
that shows its option: `Annotated[float, Meta(ge=0, le=180), "Random rotation of …", AUGMENTATION]`. The
check, the option and the row of the reference table derive from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from msgspec import Meta, convert

from mnistctl.errors import UsageError, shorten, unknown_name

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
    """A setting of training, or an argument of a net; made by `declare`."""

    name: str
    declaration: Any
    default: Any  # of an argument of a net: architecture -> default
    type: Any  # without None: int, float, bool, str, tuple, Mapping or a Literal
    choices: tuple[str, ...]  # of a Literal; otherwise empty
    range_text: str  # the range in words; empty: none
    is_list_required: bool  # a list needs one item or more
    help: str  # what the setting does
    default_note: str | None  # what happens without the setting, where the default does not tell
    panel: Panel | None  # where `--help` shows the option; None: the setting has no option

    @classmethod
    def declare(cls, name: str, declaration: Any, default: Any) -> Self:
        """A setting from its declaration."""
        kind, *notes = _parts(declaration)
        metas = [note for note in notes if isinstance(note, Meta)]
        return cls(
            name,
            declaration,
            default,
            type=kind,
            choices=get_args(kind) if get_origin(kind) is Literal else (),
            range_text=_range_text(metas),
            is_list_required=any(meta.min_length for meta in metas),
            help=next((note for note in notes if isinstance(note, str)), ""),
            default_note=next((meta.extra.get("default") for meta in metas if meta.extra), None),
            panel=next((note for note in notes if isinstance(note, Panel)), None),
        )

    @property
    def option(self) -> str:
        """The option on the command line, such as `--learning-rate`."""
        return "--" + self.name.replace("_", "-")

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
            raise unknown_name(self.name, value, self.choices)
        try:
            convert(value, self.declaration)
        except (ValueError, OverflowError):
            shown = repr(value).removesuffix(".0") if isinstance(value, float) else shorten(str(value))
            raise UsageError(f"{self.option} {shown}: expected {self._expected()}") from None

    def _expected(self) -> str:
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        kind = ("one or more " if self.is_list_required else "") + _KINDS[self.type]
        separator = " of " if self.range_text.startswith("at least") else " "
        return f"{kind}{separator}{self.range_text}".rstrip()


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


def _range_text(metas: list[Meta]) -> str:
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    limits = {
        name: "2^63 - 1" if limit == 2**63 - 1 else f"{limit:,}"
        for name in words
        for meta in metas
        if (limit := getattr(meta, name)) is not None
    }
    if limits.keys() == {"ge", "le"}:
        return f"from {limits['ge']} to {limits['le']}"
    return " and ".join(f"{words[name]} {limit}" for name, limit in limits.items())
