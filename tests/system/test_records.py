"""JSON that is read back into dataclasses."""

from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

import pytest
from msgspec import Meta

from mnistctl.system import records


class Source(TypedDict):
    name: str


@dataclass
class Record:
    number: int
    share: float | None = None
    names: Annotated[list[str], Meta(min_length=1)] = field(default_factory=lambda: ["a"])
    source: Annotated[dict[str, Any], Source] = field(default_factory=lambda: {"name": "x"})


def test_a_record_is_built_from_its_fields_and_the_defaults_of_the_others() -> None:
    assert records.build(Record, {"number": 3, "share": 1}) == Record(3, share=1)


def test_keys_that_a_typed_dict_does_not_declare_are_kept() -> None:
    record = records.build(Record, {"number": 3, "source": {"name": "x", "more": [1]}})

    assert record.source == {"name": "x", "more": [1]}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "missing, unknown or wrong: number"),
        ({"number": 3, "more": 1}, "missing, unknown or wrong: more"),
        ({"number": True}, "missing, unknown or wrong: number"),
        ({"number": 3.0, "share": "1"}, "missing, unknown or wrong: number, share"),
        ({"number": 3, "names": []}, "missing, unknown or wrong: names"),
        ({"number": 3, "names": ["a", 1]}, "missing, unknown or wrong: names"),
        ({"number": 3, "source": {"name": 1}}, "missing, unknown or wrong: source"),
        ({"number": 3, "source": {}}, "missing, unknown or wrong: source"),
    ],
)
def test_a_wrong_record_is_rejected_with_the_names_of_the_fields(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        records.build(Record, values)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, b"\xff", "[1]", "null"])
def test_text_that_is_not_a_json_object_is_rejected(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is that of the JSON parser
        records.parse(text)
