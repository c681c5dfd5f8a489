"""The fields of a resource that is added, and the lines of its files that follow from them.

A file of the slice that is cloned has regions, ``# paceline: fields NAME {`` to ``# paceline: }``;
`FieldLines` says what stands there for other fields. Invariant: a value that a type lets through
can be stored and sent, over HTTP and gRPC alike, so no rule is needed for a new resource to keep
its own document.
"""

import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from paceline.scaffold.errors import ScaffoldError
from paceline.scaffold.naming import ResourceName, camel

Kind = Literal["str", "int", "float", "bool", "date", "datetime", "uuid"]
KINDS: Final[Sequence[Kind]] = get_args(Kind)
RESERVED: Final = ("id", "version", "created_at", "updated_at")
# A struct's annotations are read in its own scope, where a field of this name would hide the type.
_HIDING: Final = {"str", "int", "float", "bool", "datetime"}
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_MAX_LENGTH: Final = 50
_MAX_TEXT: Final = 200
_EXAMPLE: Final = "for example number:str amount:int due:date?"
_SQL_WORDS: Final = frozenset(
    """
    ALL ANALYSE ANALYZE AND ANY ARRAY AS ASC ASYMMETRIC BOTH CASE CAST CHECK COLLATE COLUMN
    CONSTRAINT CREATE CURRENT_CATALOG CURRENT_DATE CURRENT_ROLE CURRENT_TIME
    CURRENT_TIMESTAMP CURRENT_USER DEFAULT DEFERRABLE DESC DISTINCT DO ELSE END EXCEPT FALSE
    FETCH FOR FOREIGN FROM GRANT GROUP HAVING IN INITIALLY INTERSECT INTO LATERAL LEADING
    LIMIT LOCALTIME LOCALTIMESTAMP NOT NULL OFFSET ON ONLY OR ORDER BY PLACING PRIMARY
    REFERENCES RETURNING SELECT SESSION_USER SOME SYMMETRIC SYSTEM_USER TABLE THEN TO
    TRAILING TRUE UNION UNIQUE USER USING VARIADIC WHEN WHERE WINDOW WITH
    """.split()  # noqa: SIM905 - one a line would be a page
)


@dataclass(frozen=True, slots=True)
class Field:
    """One field. ``optional``: it may be missing, and is null then."""

    name: str
    kind: Kind
    optional: bool

    @classmethod
    def parse(cls, text: str) -> "Field":
        """``due:date?``. Errors: ScaffoldError."""
        name, colon, kind = text.partition(":")
        optional = kind.endswith("?")
        kind = kind.removesuffix("?")
        if not colon or kind not in KINDS:
            raise ScaffoldError(
                f"{text!r} is no field: write NAME:TYPE, with ? behind the type of one that may be"
                f" missing; the types are {', '.join(KINDS)}; {_EXAMPLE}",
                usage=True,
            )
        _check_name(name)
        return cls(name, next(each for each in KINDS if each == kind), optional)


def _check_name(name: str) -> None:
    if name in RESERVED:
        reason = f"every resource has {', '.join(RESERVED)} already"
    elif keyword.iskeyword(name):
        reason = "it is a keyword of Python"
    elif name in _HIDING:
        reason = "it is the name of a type"
    elif not _NAME.fullmatch(name) or len(name) > _MAX_LENGTH:
        reason = f"write up to {_MAX_LENGTH} lower-case letters, digits and underscores"
    else:
        return
    raise ScaffoldError(f"{name!r} cannot be a field: {reason}", usage=True)


def parse_fields(texts: Sequence[str]) -> Sequence[Field]:
    """All fields, those that must be there first, as a struct needs them. Errors: ScaffoldError."""
    if not texts:
        raise ScaffoldError(f"a resource needs a field, {_EXAMPLE}", usage=True)
    found = [Field.parse(text) for text in texts]
    names = [each.name for each in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ScaffoldError(f"{twice[0]!r} is given twice", usage=True)
    return sorted(found, key=lambda each: each.optional)


@dataclass(frozen=True, slots=True)
class _Type:
    """What a kind is in each language, with two values of it, and some that are none.

    ``checked``: the annotation of a draft's field, with its limits. ``sent`` and ``received``:
    Python's expression for the message's value, and the other way round.
    """

    python: str
    checked: str
    sql: str
    proto: str
    table: str
    one: str
    two: str
    json: str
    wrong: Sequence[str]
    sent: str = "{}"
    received: str = "{}"


_TYPES: Final[Mapping[Kind, _Type]] = {
    "str": _Type(
        "str", "_Text", "text", "string", f"text, 1 to {_MAX_TEXT} characters",
        '"{name} ☃ and \'quotes\'"', '"other {name}"', '"{name}"',
        ['""', '"a\\0"', f'"a" * {_MAX_TEXT + 1}', "1"],
    ),
    "int": _Type(
        "int", "_Integer", "bigint", "int64", "whole number, 64 bits",
        "2**53 + {number}", "-{number}", "42", ['"1"', "1.5", "2**63"],
    ),
    "float": _Type(
        "float", "_Number", "double precision", "double", "number",
        "{number}.5", "-1e300", "2.5", ['"1.5"'],
    ),
    "bool": _Type(
        "bool", "bool", "boolean", "bool", "true or false",
        "True", "False", "true", ['"true"', "1"],
    ),
    "date": _Type(
        "_Date", "_Date", "date", "string", "date, 2026-02-28",
        "date(2026, 2, {day})", "date(1999, 12, 31)", '"2026-02-28"',
        ['"2026-02-30"', '"2026-02-28T00:00:00Z"', "1"], "{}.isoformat()",
    ),
    "datetime": _Type(
        "datetime", "_Time", "timestamptz", "google.protobuf.Timestamp",
        "time with its zone, 2026-02-28T09:30:00Z",
        "datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC)",
        "datetime(1999, 12, 31, 23, 59, {day}, 0, UTC)",
        '"2026-02-28T09:30:00Z"', ['"2026-01-02T03:04:05"', '"yesterday"'],
        "timestamp({})", 'convert_time({}, "{resource}.{name}")',
    ),
    "uuid": _Type(
        "UUID", "UUID", "uuid", "string", "UUID",
        'UUID("0192f0a0-0000-7000-8000-00000000{number:0>4}")',
        'UUID("0192f0a0-0000-7000-8000-00000001{number:0>4}")',
        '"0192f0a0-0000-7000-8000-000000000001"', ['"x"', "1"], "str({})",
    ),
}  # fmt: skip


class FieldLines:
    """The lines for each region of the slice's files, with these fields."""

    def __init__(self, package: str, resource: ResourceName, fields: Sequence[Field]) -> None:
        self._package = package
        self._resource = resource
        self._fields = fields
        self._regions: Mapping[str, Callable[[], Sequence[str]]] = {
            "imports": self._imports,
            "types": self._aliases,
            "draft": self._draft,
            "item": self._item,
            "made": self._made,
            "rules": self._rules,
            "rpc imports": self._rpc_imports,
            "rpc rules": list,
            "received": self._received,
            "sent": lambda: self._sent(resource.singular),
            "proto imports": self._proto_imports,
            "message": self._message,
            "draft message": lambda: self._messages(1),
            "page": self._page,
            "columns": self._columns,
            "sample imports": self._sample_imports,
            "sample": self._sample,
            "other sample": self._other_sample,
            "wrong": self._wrong,
            "test imports": self._test_imports,
            "message sample": self._message_sample,
            "table": self._table,
            "curl": self._curl,
        }

    def lines(self, region: str) -> Sequence[str]:
        """Errors: ScaffoldError for a region that nothing is known of."""
        make = self._regions.get(region)
        if make is None:
            raise ScaffoldError(f"the template has a region {region!r}, which nothing fills")
        return make()

    def _imports(self) -> Sequence[str]:
        # What is not needed is taken out again by ruff.
        return [
            "from datetime import date, datetime",
            "from typing import Annotated, Final",
            "from uuid import UUID",
            "",
            "import msgspec",
        ]

    def _aliases(self) -> Sequence[str]:
        kinds = {each.kind for each in self._fields}
        lines: list[str] = []
        if "str" in kinds:
            lines += [
                "# PostgreSQL's text cannot hold U+0000, and no API needs it.",
                '_NO_NUL: Final = r"^[^\\u0000]*$"',
                "_Text = Annotated[",
                f"    str, msgspec.Meta(min_length=1, max_length={_MAX_TEXT}, pattern=_NO_NUL)",
                "]",
            ]
        if "int" in kinds:
            lines += [
                "# As far as bigint and int64 go.",
                "_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]",
            ]
        if "float" in kinds:
            lines += [
                "# Infinities are no JSON.",
                "_Number = Annotated[float, msgspec.Meta(ge=-1e308, le=1e308)]",
            ]
        if "date" in kinds:
            lines += ["_Date = date"]
        if "datetime" in kinds:
            lines += ["_Time = Annotated[datetime, msgspec.Meta(tz=True)]"]
        return lines

    def _draft(self) -> Sequence[str]:
        return [
            f"{each.name}: {_TYPES[each.kind].checked}{' | None = None' if each.optional else ''}"
            for each in self._fields
        ]

    def _item(self) -> Sequence[str]:
        return [
            f"{each.name}: {_TYPES[each.kind].python}{' | None' if each.optional else ''}"
            for each in self._fields
        ]

    def _made(self) -> Sequence[str]:
        return [f"{each.name}=draft.{each.name}," for each in self._fields]

    def _rules(self) -> Sequence[str]:
        return ["del draft  # no rule yet; one raises ValidationError(field, message)"]

    def _rpc_imports(self) -> Sequence[str]:
        names = f"{camel(self._resource.singular)}, {camel(self._resource.singular)}Draft"
        lines = [f"from {self._package}.domain.{self._resource.plural} import {names}"]
        if any(each.kind == "datetime" for each in self._fields):
            lines.append("from paceline.grpc import convert_time, timestamp")
        return lines

    def _received(self) -> Sequence[str]:
        lines = ["values: dict[str, object] = {"]
        given = [each for each in self._fields if not _has_presence(each)]
        lines += [f'    "{each.name}": {self._value_of(each)},' for each in given]
        lines += ["}"]
        for each in self._fields:
            if _has_presence(each):
                lines += [
                    f'if draft.HasField("{each.name}"):',
                    f'    values["{each.name}"] = {self._value_of(each)}',
                ]
        draft = f"{camel(self._resource.singular)}Draft"
        return [*lines, f'return convert_field(values, {draft}, "{self._resource.singular}")']

    def _value_of(self, field: Field) -> str:
        text = _TYPES[field.kind].received
        return text.format(f"draft.{field.name}", resource=self._resource.singular, name=field.name)

    def _sent(self, holder: str) -> Sequence[str]:
        lines: list[str] = []
        for each in self._fields:
            value = f"{holder}.{each.name}"
            sent = _TYPES[each.kind].sent.format(value)
            if each.optional and sent != value:
                sent = f"None if {value} is None else {sent}"
            lines.append(f"{each.name}={sent},")
        return lines

    def _message_sample(self) -> Sequence[str]:
        lines = [f"    {line}" for line in self._sent("draft")]
        return [f"return pb.{camel(self._resource.singular)}Draft(", *lines, ")"]

    def _test_imports(self) -> Sequence[str]:
        lines = ["from paceline.http import TestClient"]
        if any(each.kind == "datetime" for each in self._fields):
            lines.append("from paceline.grpc import timestamp")
        return lines

    def _proto_imports(self) -> Sequence[str]:
        if any(each.kind == "datetime" for each in self._fields):
            return ['import "google/protobuf/timestamp.proto";', ""]
        return []

    def _message(self) -> Sequence[str]:
        return [
            "// Grows by one with each update.",
            "int64 version = 2;",
            "// In seconds since the Unix epoch.",
            "int64 created_at = 3;",
            "// In seconds since the Unix epoch.",
            "int64 updated_at = 4;",
            *self._messages(5),
        ]

    def _messages(self, first: int) -> Sequence[str]:
        lines: list[str] = []
        for number, each in enumerate(self._fields, first):
            known = _TYPES[each.kind]
            if each.kind in {"date", "uuid"} or (each.kind == "str" and first == 1):
                lines.append(f"// {known.table[0].upper()}{known.table[1:]}.")
            optional = "optional " if each.optional and each.kind != "datetime" else ""
            lines.append(f"{optional}{known.proto} {each.name} = {number};")
        return lines

    def _page(self) -> Sequence[str]:
        return [
            f"// At most so many {self._resource.plural}, up to 100; 20 when 0.",
            "int32 page_size = 1;",
            "// next_page_token of the page before; empty for the first page.",
            "string page_token = 2;",
        ]

    def _columns(self) -> Sequence[str]:
        lines: list[str] = []
        for each in self._fields:
            name = f'"{each.name}"' if is_sql_word(each.name) else each.name
            null = "" if each.optional else " NOT NULL"
            check = ""
            if each.kind == "str":
                check = f" CHECK (char_length({name}) BETWEEN 1 AND {_MAX_TEXT})"
            lines.append(f"{name:10} {_TYPES[each.kind].sql:11}{null}{check}".rstrip() + ",")
        return lines

    def _sample_imports(self) -> Sequence[str]:
        return [
            "from datetime import UTC, date, datetime",
            "from typing import Any, Final",
            "from uuid import UUID",
            "",
            "import msgspec",
        ]

    def _sample(self) -> Sequence[str]:
        return [
            f"{each.name}={_filled(_TYPES[each.kind].one, each, number)},"
            for number, each in enumerate(self._fields, 1)
        ]

    def _other_sample(self) -> Sequence[str]:
        return [
            f"{each.name}={_filled(_TYPES[each.kind].two, each, number)},"
            for number, each in enumerate(self._fields, 1)
            if not each.optional
        ]

    def _wrong(self) -> Sequence[str]:
        lines = ["WRONG: Final[list[tuple[str, object]]] = ["]
        for each in self._fields:
            lines += [f'    ("{each.name}", {value}),' for value in _TYPES[each.kind].wrong]
        return [*lines, "]"]

    def _table(self) -> Sequence[str]:
        lines = ["| field | type | |", "|---|---|---|"]
        for each in self._fields:
            optional = " may be missing |" if each.optional else " |"
            lines.append(f"| `{each.name}` | {_TYPES[each.kind].table} |{optional}")
        return lines

    def _curl(self) -> Sequence[str]:
        body = ", ".join(
            f'"{each.name}": {_TYPES[each.kind].json.format(name=each.name)}'
            for each in self._fields
        )
        place = f"localhost:8080/api/v1/{self._resource.plural}"
        return [
            "```sh",
            f'curl -i {place} -H "Authorization: Bearer $TOKEN" \\',
            f"  -H 'Content-Type: application/json' -d '{{{body}}}'",
            f'curl {place} -H "Authorization: Bearer $TOKEN"',
            "```",
        ]


def _filled(sample: str, field: Field, number: int) -> str:
    return sample.format(name=field.name, number=number, day=number % 28 + 1)


def _has_presence(field: Field) -> bool:
    """Whether its message says that it is missing, instead of a zero."""
    return field.optional or field.kind == "datetime"


def is_sql_word(name: str) -> bool:
    """Whether a table cannot have this name unless it is quoted."""
    return name.upper() in _SQL_WORDS
