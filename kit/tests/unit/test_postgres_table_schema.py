"""The schema of a versioned table: columns by the types of fields, and what is refused at once."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest

from paceline.postgres import Column, TableSchema
from paceline.postgres.table_schema import Statements


class Colour(Enum):
    RED = "red"


class Size(IntEnum):
    SMALL = 1


class Mixed(Enum):
    ONE = 1
    TWO = "two"


@dataclass(frozen=True)
class Kind:
    annotation: Any
    column: str


def schema_with(annotation: Any, columns: dict[str, str | Column] | None = None) -> Any:
    draft = msgspec.defstruct("Draft", [("value", annotation)], frozen=True)
    item = msgspec.defstruct(
        "Item",
        [
            ("id", UUID),
            ("value", annotation),
            ("version", int),
            ("created_at", datetime),
            ("updated_at", datetime),
        ],
        frozen=True,
    )
    made: Any = TableSchema  # what is passed is made here, so no checker knows its types
    return made(name="things", item=item, draft=draft, columns=columns or {})


@pytest.mark.parametrize("kind", [
    Kind(str, "text"),
    Kind(int, "bigint"),
    Kind(float, "double precision"),
    Kind(bool, "boolean"),
    Kind(bytes, "bytea"),
    Kind(UUID, "uuid"),
    Kind(Decimal, "numeric"),
    Kind(date, "date"),
    Kind(datetime, "timestamptz"),
    Kind(time, "time"),
    Kind(timedelta, "interval"),
    Kind(Literal["a", "b"], "text"),
    Kind(Literal[1, 2], "bigint"),
    Kind(Colour, "text"),
    Kind(Size, "bigint"),
    Kind(msgspec.Raw, "json"),
    Kind(dict[str, str], "jsonb"),
    Kind(list[int], "jsonb"),
    Kind(int | str, "jsonb"),
    Kind(int | None, "bigint"),
    Kind(Annotated[str | None, msgspec.Meta(max_length=3)], "text"),
    Kind(Annotated[date | None, msgspec.Meta(title="due")], "date"),
], ids=str)  # fmt: skip
def test_the_type_of_a_field_is_the_type_of_its_column(kind: Kind) -> None:
    assert schema_with(kind.annotation).resolve().columns["value"].type == kind.column


def test_a_column_of_ones_own_replaces_the_derived_one() -> None:
    assert schema_with(str, {"value": "varchar(20)"}).resolve().columns["value"].type == (
        "varchar(20)"
    )
    own = Column("jsonb", encode=str, decode=str)
    assert schema_with(object, {"value": own}).resolve().columns["value"] is own


@dataclass(frozen=True)
class Refusal:
    id: str
    make: Callable[[], object]
    says: str


class Draft(msgspec.Struct, frozen=True):
    name: str


class Thawed(msgspec.Struct):
    name: str


class Item(msgspec.Struct, frozen=True):
    id: UUID
    name: str
    version: int
    created_at: datetime
    updated_at: datetime


class Other(msgspec.Struct, frozen=True):
    id: UUID
    title: str
    version: int
    created_at: datetime
    updated_at: datetime


@pytest.mark.parametrize("case", [
    Refusal(
        "fields that differ",
        lambda: TableSchema(name="t", item=Other, draft=Draft),
        "Other must have the fields id, name, version, created_at, updated_at, one after the other",
    ),
    Refusal(
        "a draft that can change",
        lambda: TableSchema(name="t", item=Item, draft=Thawed),
        "Thawed must be a msgspec.Struct with frozen=True",
    ),
    Refusal(
        "a column of no field",
        lambda: TableSchema(name="t", item=Item, draft=Draft, columns={"names": "text"}),
        "Item has no field names",
    ),
    Refusal("an array", lambda: schema_with(str, {"value": "text[]"}), "Item.value: an array"),
    Refusal(
        "an enum of several types", lambda: schema_with(Mixed), "Item.value: its values must be"
    ),
    Refusal(
        "a type that JSON has not",
        lambda: schema_with(Callable[[], int]),
        "Item.value: no column is known",
    ),
], ids=lambda case: case.id)  # fmt: skip
def test_what_no_table_can_hold_is_refused_when_the_schema_is_made(case: Refusal) -> None:
    with pytest.raises(TypeError) as caught:
        case.make()
    assert case.says in str(caught.value)


class Fixed(msgspec.Struct, frozen=True):
    id: UUID
    number: int
    version: int
    created_at: datetime
    updated_at: datetime


class FixedDraft(msgspec.Struct, frozen=True):
    number: int


def test_rows_of_one_size_are_not_measured() -> None:
    columns = TableSchema(name="t", item=Fixed, draft=FixedDraft).resolve().columns
    sql = Statements("t", columns, remembered=[], max_page_bytes=100)
    names = '"id", "number", "version", "created_at", "updated_at"'
    expected = f"SELECT {names} FROM t WHERE id >= $1 ORDER BY id LIMIT 7"  # noqa: S608 - only compared
    assert sql.page_of(7) == expected


def test_statements_name_every_column_and_quote_it() -> None:
    columns = TableSchema(name="t", item=Item, draft=Draft).resolve().columns
    sql = Statements("t", columns, remembered=["name"], max_page_bytes=100)
    names = '"id", "name", "version", "created_at", "updated_at"'
    assert sql.get == f"SELECT {names} FROM t WHERE id = ANY($1::uuid[])"  # noqa: S608 - only compared
    arrays = "$1::uuid[], $2::text[], $3::bigint[], $4::timestamptz[], $5::timestamptz[]"
    insert = f"INSERT INTO t ({names}) SELECT {names} FROM unnest({arrays}) AS new ({names})"  # noqa: S608 - only compared
    assert sql.insert == insert
    assert sql.lock == (
        'SELECT "id", "version", "created_at", "name" FROM t WHERE id = ANY($1::uuid[])'
        " ORDER BY id FOR UPDATE"
    )
    assert sql.replace == (
        'UPDATE t AS old SET "name" = new."name", "version" = new."version",'
        ' "updated_at" = new."updated_at" FROM unnest($1::uuid[], $2::text[], $3::bigint[],'
        ' $4::timestamptz[]) AS new ("id", "name", "version", "updated_at")'
        " WHERE old.id = new.id"
    )
