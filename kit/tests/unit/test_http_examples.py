"""Examples from types: each is one that its type takes, or there is none."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from msgspec import Meta

from paceline.http.examples import NoExampleError, example_of, sample_id


class Colour(Enum):
    """Some values."""

    RED = "red"
    BLUE = "blue"


class Inner(msgspec.Struct):
    """A part."""

    when: Annotated[datetime, Meta(tz=True)]
    colour: Colour


class Outer(msgspec.Struct, rename={"source": "from"}):
    """Parts, ids, and what may be missing."""

    source: UUID
    to: UUID
    inner: Inner
    several: list[Inner]
    code: Annotated[str, Meta(pattern="^[A-Z]{9}$")] = "ABCDEFGHI"
    odd: Annotated[str, Meta(pattern="^[xyz]{7}$")] | None = None
    note: str | None = None


class Tree(msgspec.Struct):
    """A type that contains itself."""

    value: int
    left: "Tree | None"
    rest: list["Tree"] = []


class Endless(msgspec.Struct):
    """A type that no value has."""

    inner: "Endless"


class OddText(msgspec.Struct):
    """A text that only its author knows."""

    code: Annotated[str, Meta(pattern="^[xyz]{7}$")]


@dataclass(frozen=True)
class Kind:
    """A type, and the example that it has."""

    type: Any
    example: Any


KINDS = [
    Kind(str, "example"),
    Kind(Annotated[str, Meta(min_length=10)], "exampleeee"),
    Kind(Annotated[str, Meta(max_length=3)], "exa"),
    Kind(Annotated[str, Meta(pattern="^[A-Z]+$")], "A"),
    Kind(Annotated[str, Meta(examples=["blue", "red"])], "blue"),
    Kind(int, 1),
    Kind(Annotated[int, Meta(ge=5, le=9)], 5),
    Kind(Annotated[int, Meta(gt=5)], 6),
    Kind(Annotated[int, Meta(le=-3)], -3),
    Kind(Annotated[int, Meta(lt=0)], -1),
    Kind(Annotated[int, Meta(ge=5, multiple_of=4)], 8),
    Kind(float, 1),
    Kind(bool, True),
    Kind(None, None),
    Kind(date, "2026-01-31"),
    Kind(Decimal, "1.00"),
    Kind(Literal["b", "a"], "a"),
    Kind(Colour, "blue"),
    Kind(list[UUID], ["00000000-0000-7000-8000-000000000001"]),
    Kind(Annotated[list[int], Meta(min_length=2)], [1, 1]),
    Kind(tuple[int, str], [1, "example"]),
    Kind(dict[str, int], {}),
    Kind(int | None, 1),
    Kind(msgspec.Raw, {}),
    Kind(
        Outer,
        {
            "from": "00000000-0000-7000-8000-000000000001",
            "to": "00000000-0000-7000-8000-000000000002",
            "inner": {"when": "2026-01-31T12:00:00Z", "colour": "blue"},
            "several": [{"when": "2026-01-31T12:00:00Z", "colour": "blue"}],
            "code": "ABCDEFGHI",
            "odd": None,
            "note": None,
        },
    ),
]


def example(kind: Any) -> Any:
    (schema,), components = msgspec.json.schema_components(
        [kind], ref_template="#/components/schemas/{name}"
    )
    return example_of(schema, components)


@pytest.mark.parametrize("case", KINDS, ids=lambda case: str(case.type))
def test_an_example_is_what_its_type_takes(case: Kind) -> None:
    found = example(case.type)
    assert found == case.example
    msgspec.json.decode(msgspec.json.encode(found), type=case.type)


def test_a_type_that_contains_itself_has_an_example_that_ends() -> None:
    found = example(Tree)
    msgspec.convert(found, Tree)


@pytest.mark.parametrize(("kind", "reason"), [
    (Endless, "contains itself"), (OddText, r"code: no simple text matches .*give Meta"),
], ids=["endless", "pattern"])  # fmt: skip
def test_what_only_its_author_can_say_has_no_example(kind: type, reason: str) -> None:
    with pytest.raises(NoExampleError, match=reason):
        example(kind)


def test_sample_ids_are_uuids_of_version_7() -> None:
    assert str(sample_id(10)) == "00000000-0000-7000-8000-00000000000a"
    assert sample_id(1).version == 7
