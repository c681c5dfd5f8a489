"""Formats in the schemas of the OpenAPI document, which generated clients choose their types by."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.http import App, openapi_document
from paceline.http.schema_formats import add_formats

T = TypeVar("T")
INT64, TIME = {"type": "integer", "format": "int64"}, {"type": "string", "format": "date-time"}


class Tagged(msgspec.Struct, tag=True):
    at: datetime


class Other(msgspec.Struct, tag=True):
    name: str
    at_all: int | None = None
    next: "Other | None" = None


class Page(msgspec.Struct, Generic[T]):
    items: list[T]


class Plain(TypedDict):
    at: datetime


class Pair(NamedTuple):
    at: datetime
    number: int


class Row(msgspec.Struct, array_like=True):
    at: datetime
    name: str


class Renamed(msgspec.Struct, rename="camel"):
    made_at: datetime


@dataclass(frozen=True)
class Case:
    id: str
    type: Any
    schema: object


CASES = [
    Case("an integer", int, INT64),
    Case("a small one", Annotated[int, msgspec.Meta(ge=1, le=100)], {"type": "integer", "minimum": 1, "maximum": 100, "format": "int32"}),
    Case("one to 2^53", Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)], {"type": "integer", "minimum": 1, "maximum": 2**53 - 1, "format": "int64"}),
    Case("one or nothing", int | None, {"anyOf": [INT64, {"type": "null"}]}),
    Case("a time", datetime, TIME),
    Case("a described one", Annotated[datetime, msgspec.Meta(description="when")], {**TIME, "description": "when"}),
    Case("one without an offset", Annotated[datetime, msgspec.Meta(tz=False)], {"type": "string"}),
    Case("a time or nothing", datetime | None, {"anyOf": [TIME, {"type": "null"}]}),
    Case("a time or a number", datetime | int | None, {"anyOf": [TIME, INT64, {"type": "null"}]}),
    Case("a list", list[datetime], {"type": "array", "items": TIME}),
    Case("a tuple", tuple[datetime, int], {"type": "array", "minItems": 2, "maxItems": 2, "prefixItems": [TIME, INT64], "items": False}),
    Case("a dictionary", dict[str, datetime], {"type": "object", "additionalProperties": TIME}),
    Case("a text", str, {"type": "string"}),
    Case("an id", UUID, {"type": "string", "format": "uuid"}),
    Case("a date", date, {"type": "string", "format": "date"}),
    Case("a choice of integers", Literal[1, 2], {"enum": [1, 2], "type": "integer"}),
    Case("of texts", Literal["a", "b"], {"enum": ["a", "b"], "type": "string"}),
    Case("of both", Literal["a", 1], {"enum": [1, "a"]}),
]  # fmt: skip


def formatted(*kinds: Any) -> tuple[Sequence[dict[str, Any]], dict[str, Any]]:
    found, components = msgspec.json.schema_components(kinds, ref_template="#/x/{name}")
    add_formats(kinds, found, components)
    return found, components


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_type_has_its_format(case: Case) -> None:
    (schema,), _ = formatted(case.type)
    assert schema == case.schema


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (Renamed, ("Renamed", "properties", "madeAt")),
        (Page[datetime], ("Page_datetime_", "properties", "items", "items")),
        (Plain, ("Plain", "properties", "at")),
        (Pair, ("Pair", "prefixItems", 0)),
        (Row, ("Row", "prefixItems", 0)),
        (list[Tagged | Other], ("Tagged", "properties", "at")),
    ],
    ids=lambda value: str(value)[:30],
)
def test_times_inside_structures_have_theirs(kind: Any, path: tuple[str | int, ...]) -> None:
    found: Any = formatted(kind)[1]
    for step in path:
        found = found[step]
    assert found == TIME


def test_a_structure_that_contains_itself_is_read_once() -> None:
    _, components = formatted(Tagged | Other, Other)
    properties = components["Other"]["properties"]
    assert properties["name"] == {"type": "string"}
    assert properties["at_all"]["anyOf"][0] == INT64


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_every_value_that_a_type_takes_fits_into_its_format(one: int, two: int) -> None:
    least, most = sorted((one, two))
    ((schema,), _) = formatted(Annotated[int, msgspec.Meta(ge=least, le=most)])
    bits = {"int32": 31, "int64": 63}[schema["format"]]
    assert -(2**bits) <= least
    assert most < 2**bits


def test_the_document_has_them() -> None:
    async def get_page() -> Page[Renamed]:
        """Nothing."""
        return Page([])

    app = App()
    app.group().get("/pages", get_page)
    document = openapi_document(app, title="t", version="1")
    schemas = document["components"]["schemas"]
    assert schemas["Renamed"]["properties"]["madeAt"] == TIME
    assert schemas["Problem"]["properties"]["status"]["format"] in ("int32", "int64")
