"""Read JSON back into dataclasses, with the type of every field checked."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints, is_typeddict

import msgspec

T = TypeVar("T")


def parse(text: str | bytes) -> Any:
    """Plain values from JSON text.

    Raises:
        ValueError: the text is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def build(kind: type[T], values: Any, **others: Any) -> T:
    """A dataclass from plain values.

    Args:
        kind: the dataclass. A TypedDict among the annotations of a field of dicts declares the keys
            that have a fixed type.
        values: a mapping of the fields.
        others: fields that do not come from `values`; they are not checked.

    Raises:
        ValueError: `values` is not a mapping, or fields are missing, unknown or of the wrong type; the
            message names them.
    """
    if not isinstance(values, Mapping):
        raise ValueError("not a JSON object")
    hints = get_type_hints(kind, include_extras=True)
    required = {
        item.name
        for item in dataclasses.fields(kind)  # type: ignore[arg-type]
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    }
    wrong = (required - set(values) - set(others)) | (set(values) - set(hints))
    wrong |= {name for name in set(values) & set(hints) if not _fits(values[name], hints[name])}
    if wrong:
        raise ValueError(f"missing, unknown or wrong: {', '.join(sorted(wrong))}")
    return kind(**values, **others)


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
