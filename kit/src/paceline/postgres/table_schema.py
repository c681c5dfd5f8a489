"""The schema of a versioned table: its columns, how values reach them, and the statements.

The columns are the fields of the item, in order: ``id``, those of the draft, ``version``,
``created_at``, ``updated_at``. Invariant: a statement is made of literal strings and of the names
of those fields, and names every column, so a column that a later migration adds changes nothing
here. A field's type decides its column's; a value that has no column type of its own is kept as
JSON. Rejected: reading the column types from the database, which would make a repository that
cannot be built without one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    LiteralString,
    Protocol,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
)
from uuid import UUID

import msgspec
import msgspec.inspect

from paceline.errors import Error, NotFound, StaleVersion
from paceline.postgres.connection import Row

_BEFORE: Final = ("id",)
_BEHIND: Final = ("version", "created_at", "updated_at")


class VersionedItem(Protocol):
    """What every item of a `VersionedTable` has, besides the fields of its draft."""

    @property
    def id(self) -> UUID:
        """The primary key."""
        ...

    @property
    def version(self) -> int:
        """1 at first; each replacement adds one."""
        ...

    @property
    def created_at(self) -> datetime:
        """When it was inserted."""
        ...

    @property
    def updated_at(self) -> datetime:
        """When it was last replaced, or inserted."""
        ...


ItemT = TypeVar("ItemT", bound=VersionedItem)
DraftT = TypeVar("DraftT", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Column:
    """How a field is stored: the column's ``type``, and how values become the driver's and back.

    None is NULL and is passed to neither function. An array has no place in ``type``, because rows
    are sent as one array a column; a list is kept as jsonb.
    """

    type: LiteralString
    encode: Callable[[Any], object] | None = None
    decode: Callable[[Any], object] | None = None


_PLAIN: Final[Mapping[object, LiteralString]] = {
    str: "text",
    int: "bigint",
    float: "double precision",
    bool: "boolean",
    bytes: "bytea",
    UUID: "uuid",
    Decimal: "numeric",
    date: "date",
    datetime: "timestamptz",
    time: "time",
    timedelta: "interval",
}
_FIXED: Final = frozenset({
    "bigint", "double precision", "boolean", "uuid", "date", "timestamptz", "time", "interval",
})  # fmt: skip
"""Types whose values have one size."""
# No field can have this name.
_BYTES_BEFORE: Final[LiteralString] = '"bytes before"'
_ENCODE_JSON: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSchema(Generic[ItemT, DraftT]):
    """A table of items, with the draft that callers write.

        class InvoiceDraft(msgspec.Struct, frozen=True):
            number: str
            amount: int

        class Invoice(msgspec.Struct, frozen=True):
            id: UUID
            number: str
            amount: int
            version: int
            created_at: datetime
            updated_at: datetime

        INVOICES = TableSchema(name="invoices", item=Invoice, draft=InvoiceDraft)

    ``columns``: for fields that are stored in another way than their type says, as a type of
    PostgreSQL ("varchar(20)") or a `Column`. By type: str is text, int bigint, float double
    precision, bool boolean, bytes bytea, UUID uuid, Decimal numeric, date, datetime timestamptz,
    time, timedelta interval; a Literal or an Enum is the type of its values; ``msgspec.Raw`` is
    json, which keeps the text as it came; everything else is jsonb. ``not_found`` and ``stale``
    make the errors. ``primary_key``: the constraint's name, ``<name>_pkey`` if not given.

    Errors: TypeError for structs that do not belong together, are not frozen, or have a field that
    nothing can store; it says which.
    """

    name: LiteralString
    item: type[ItemT]
    draft: type[DraftT]
    columns: Mapping[str, LiteralString | Column] = field(
        default_factory=dict[str, "LiteralString | Column"]
    )
    not_found: Callable[[], Error] = NotFound
    stale: Callable[[], Error] = StaleVersion
    primary_key: str | None = None

    def __post_init__(self) -> None:
        for struct in (self.item, self.draft):
            if not issubclass(struct, msgspec.Struct) or not struct.__struct_config__.frozen:
                raise TypeError(
                    f"{struct.__name__} must be a msgspec.Struct with frozen=True: callers of one"
                    " batch share its values"
                )
        wanted = (*_BEFORE, *_names(self.draft), *_BEHIND)
        if _names(self.item) != wanted:
            raise TypeError(
                f"{self.item.__name__} must have the fields {', '.join(wanted)}, one after the"
                f" other: id, those of {self.draft.__name__}, and {', '.join(_BEHIND)}"
            )
        if unknown := [name for name in self.columns if name not in wanted]:
            raise TypeError(f"{self.item.__name__} has no field {unknown[0]}, for its column")
        self.resolve()  # what cannot be stored is found here and not at the first request

    def resolve(self) -> "ResolvedColumns":
        """Its columns."""
        return ResolvedColumns(dict(self._columns()))

    def _columns(self) -> Iterator[tuple[LiteralString, Column]]:
        for each in _fields(self.item):
            own = self.columns.get(each.name)
            where = f"{self.item.__name__}.{each.name}"
            if own is None:
                column = _column_of(each.type, where)
            else:
                column = own if isinstance(own, Column) else Column(own)
            if column.type.endswith("[]"):
                raise TypeError(f"{where}: an array cannot be a column here, jsonb can")
            yield _identifier(each.name), column


class ResolvedColumns:
    """Columns in the order of the item's fields, with the functions for whole rows."""

    def __init__(self, columns: Mapping[LiteralString, Column]) -> None:
        self.columns: Mapping[LiteralString, Column] = columns
        self.names: Sequence[LiteralString] = [*columns]
        self._encoders = [
            (index, column.encode)
            for index, column in enumerate(columns.values())
            if column.encode is not None
        ]
        self._decoders = [
            (index, column.decode)
            for index, column in enumerate(columns.values())
            if column.decode is not None
        ]

    def decode(self, rows: Sequence[Row]) -> list[Sequence[object]]:
        """The values of rows as the item's fields have them, one sequence a column."""
        columns: list[Sequence[object]] = [*zip(*rows, strict=True)]
        if columns:
            for index, decode in self._decoders:
                values = columns[index]
                columns[index] = [None if each is None else decode(each) for each in values]
        return columns

    def decode_one(self, name: str, value: object) -> object:
        """The value of one column."""
        decode = self.columns[_identifier(name)].decode
        return value if decode is None or value is None else decode(value)

    def encode(self, items: Sequence[msgspec.Struct]) -> list[Sequence[object]]:
        """One array a column, for ``unnest``."""
        arrays: list[Sequence[object]] = [*zip(*map(msgspec.structs.astuple, items), strict=True)]
        for index, encode in self._encoders:
            arrays[index] = [None if value is None else encode(value) for value in arrays[index]]
        return arrays


class Statements:
    """The statements of a table.

    ``remembered``: columns that are read with a row's lock. ``max_page_bytes``: a page ends with
    the row that reaches so many bytes.
    """

    def __init__(
        self,
        name: LiteralString,
        columns: Mapping[LiteralString, Column],
        *,
        remembered: Sequence[LiteralString],
        max_page_bytes: int,
    ) -> None:
        names = _listed([*columns])
        select: LiteralString = f"SELECT {names} FROM {name}"
        self.get: LiteralString = f"{select} WHERE id = ANY($1::uuid[])"
        # PostgreSQL and the driver take a sixth less time for this than for an array of one.
        self.get_one: LiteralString = f"{select} WHERE id = $1"
        self._select: LiteralString = select
        self._names: LiteralString = names
        self._size: LiteralString = _size_of_row(columns)
        self._max_page_bytes: LiteralString = _number(max_page_bytes)
        asked = self._bounded(f"{select} WHERE id >= asked.first ORDER BY id LIMIT asked.size")
        self.pages: LiteralString = (
            f"SELECT page.*, asked.number"
            " FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS asked (first, size, number)"
            f" CROSS JOIN LATERAL ({asked}) AS page ORDER BY asked.number, page.id"
        )
        every: LiteralString = _arrays([column.type for column in columns.values()])
        self.insert: LiteralString = (
            f"INSERT INTO {name} ({names}) SELECT {names} FROM unnest({every}) AS new ({names})"
        )
        locked = _listed(["id", "version", "created_at", *remembered])
        self.lock: LiteralString = (
            f"SELECT {locked} FROM {name} WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE"
        )
        sent: list[LiteralString] = [each for each in columns if each != "created_at"]
        types = _arrays([columns[each].type for each in sent])
        changes: list[LiteralString] = [f'"{each}" = new."{each}"' for each in sent if each != "id"]
        changed: LiteralString = ", ".join(changes)
        self.replace: LiteralString = (
            f"UPDATE {name} AS old SET {changed}"
            f" FROM unnest({types}) AS new ({_listed(sent)}) WHERE old.id = new.id"
        )
        self.delete: LiteralString = f"DELETE FROM {name} WHERE id = ANY($1::uuid[])"

    def page(self, where: LiteralString | None = None) -> LiteralString:
        """A page of at most ``$2`` rows from the id ``$1`` on, if ``where`` holds."""
        condition: LiteralString = "" if where is None else f" AND ({where})"
        return self._bounded(f"{self._select} WHERE id >= $1{condition} ORDER BY id LIMIT $2")

    def page_of(self, limit: int) -> LiteralString:
        """The same without a condition, with the number of rows in the text."""
        return self._bounded(f"{self._select} WHERE id >= $1 ORDER BY id LIMIT {_number(limit)}")

    def _bounded(self, rows: LiteralString) -> LiteralString:
        """``rows`` up to the one with which they reach the most bytes of a page.

        The server decides, so what is beyond is neither decompressed nor sent.
        """
        if not self._size:
            return rows
        before: LiteralString = (
            f"coalesce(sum({self._size}) OVER"
            " (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)"
        )
        return (
            f"SELECT {self._names} FROM (SELECT {self._names}, {before} AS {_BYTES_BEFORE}"
            f" FROM ({rows}) AS found) AS measured"
            f" WHERE {_BYTES_BEFORE} < {self._max_page_bytes} ORDER BY id"
        )


def _listed(names: Sequence[LiteralString]) -> LiteralString:
    # Quoted, because a field may have the name of one of SQL's words.
    return ", ".join([f'"{name}"' for name in names])


def _number(value: int) -> LiteralString:
    return cast("LiteralString", str(int(value)))  # type: ignore[redundant-cast] # only digits


def _size_of_row(columns: Mapping[LiteralString, Column]) -> LiteralString:
    """The bytes of a row's columns of any length, for a statement; "" if it has none.

    What is not compressed tells its size without being read.
    """
    return " + ".join([
        f'coalesce(CASE WHEN pg_column_compression("{name}") IS NULL'
        f' THEN pg_column_size("{name}") ELSE octet_length("{name}"::text) END, 0)'
        for name, column in columns.items()
        if column.type not in _FIXED
    ])  # fmt: skip


def _arrays(types: Sequence[LiteralString]) -> LiteralString:
    arrays = [f"${number}::{each}[]" for number, each in enumerate(types, 1)]
    return cast("LiteralString", ", ".join(arrays))  # type: ignore[redundant-cast] # only numbers


def _identifier(name: str) -> LiteralString:
    """The name of a field, which is written in the source as a literal is."""
    if not name.isidentifier():  # a struct may be made at run time, with any names
        raise TypeError(f"{name!r} cannot be the name of a column")
    return cast("LiteralString", name)  # type: ignore[redundant-cast] # mypy knows only str


def _names(struct: type[object]) -> tuple[str, ...]:
    return tuple(each.name for each in _fields(struct))


def _fields(struct: type[object]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(cast("type[msgspec.Struct]", struct))


def _column_of(annotation: Any, where: str) -> Column:
    """The column for a field's type. Errors: TypeError."""
    kind = _without_none(annotation)
    if get_origin(kind) is Literal:
        return Column(_type_of_values(get_args(kind), where))
    plain = _PLAIN.get(kind)
    if plain is not None:
        return Column(plain)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum_column(kind, where)
    if kind is msgspec.Raw:
        return Column("json", _encode_json, msgspec.Raw)
    return _json_column(kind, where)


def _json_column(kind: Any, where: str) -> Column:
    failure = f"{where}: no column is known for its type; give it in columns="
    try:
        known = not isinstance(msgspec.inspect.type_info(kind), msgspec.inspect.CustomType)
        column = Column("jsonb", _encode_json, msgspec.json.Decoder(kind).decode)
    except TypeError as exc:
        raise TypeError(failure) from exc
    if not known:
        raise TypeError(failure)
    return column


def _enum_column(kind: type[Enum], where: str) -> Column:
    members = {member.value: member for member in kind}
    return Column(_type_of_values([*members], where), lambda member: member.value, members.get)


def _without_none(annotation: Any) -> Any:
    """The type without its limits and its None."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, UnionType):
            others = [each for each in get_args(annotation) if each is not NoneType]
            if len(others) != 1:
                return annotation
            annotation = others[0]
        else:
            return annotation


def _type_of_values(values: Sequence[object], where: str) -> LiteralString:
    types = {type(value) for value in values}
    if types == {str}:
        return "text"
    if types == {int}:
        return "bigint"
    raise TypeError(f"{where}: its values must be all str or all int; or give it in columns=")


def _encode_json(value: object) -> str:
    return _ENCODE_JSON(value).decode()
