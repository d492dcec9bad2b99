"""Read JSON back into dataclasses, with the type of every field checked."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints, is_typeddict

import msgspec

T = TypeVar("T")


def parse(text: str | bytes) -> dict[str, Any]:
    """A JSON object from text.

    Raises:
        ValueError: the text is not JSON, not an object, or nested too deeply.
    """
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")
    return values


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
