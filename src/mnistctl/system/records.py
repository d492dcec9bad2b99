"""Read JSON back into dataclasses, with the type of every field checked."""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints, is_typeddict

import msgspec

T = TypeVar("T")

_MAX_DEPTH = 30  # of lists and objects in one another; an ensemble of ensembles has a few
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # all but tab and line feed


def parse(text: str | bytes) -> dict[str, Any]:
    """A JSON object from text that may come from anywhere.

    Raises:
        ValueError: the text is not JSON, not an object, or fails `check_plain`.
    """
    try:
        values = msgspec.json.decode(text)  # rejects NaN, infinity and surrogates, unlike `json`
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")
    check_plain(values)
    return values


def check_plain(values: Mapping[str, Any]) -> None:
    """Check that plain values can be converted to JSON, printed and computed with.

    Raises:
        ValueError: more than `_MAX_DEPTH` levels, an integer of more than 64 bits, a number
            that is not finite, or a string with
            control characters, such as the escape sequences of a terminal.
    """
    level: list[Any] = [values]
    for _ in range(_MAX_DEPTH):
        for item in level:
            if isinstance(item, int) and abs(item) >= 2**63:
                raise ValueError("an integer of more than 64 bits")
            if isinstance(item, float) and not math.isfinite(item):
                raise ValueError("a number that is not finite")
            if isinstance(item, str) and _CONTROL.search(item):
                raise ValueError("a text with control characters")
        level = list(chain.from_iterable(map(_children, level)))
        if not level:
            return
    raise ValueError("nested too deeply")


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return chain(value, value.values())
    return value if isinstance(value, list) else ()


def build(kind: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass from plain values.

    Args:
        kind: the dataclass. A TypedDict among the annotations of a field of dicts declares the keys
            that have a fixed type.
        values: by field.

    Raises:
        ValueError: fields are missing, unknown or of the wrong type; the message names them.
    """
    hints = get_type_hints(kind, include_extras=True)
    required = {
        item.name
        for item in dataclasses.fields(kind)  # type: ignore[arg-type]
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    }
    wrong = (required - set(values)) | (set(values) - set(hints))
    wrong |= {name for name in set(values) & set(hints) if not _fits(values[name], hints[name])}
    if wrong:
        raise ValueError(f"missing, unknown or wrong: {', '.join(sorted(wrong))}")
    return kind(**values)


def _fits(value: Any, hint: Any) -> bool:
    kinds = [hint]
    if get_origin(hint) is Annotated:
        kinds += [item for item in get_args(hint)[1:] if is_typeddict(item)]
    try:
        for kind in kinds:
            msgspec.convert(value, kind)
    except ValueError:
        return False
    return True
