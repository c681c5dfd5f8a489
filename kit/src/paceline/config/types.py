"""Types for settings: operators write text, the service reads values that are ready to use.

Each accepts the text of any layer, or its own Python value, so that a test may construct a config
directly: ``Config(read_timeout=0.1)``. Durations are seconds, sizes are bytes.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Annotated, Final, Literal, Never, cast

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, NonNegativeInt, PositiveInt
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from paceline.config import duration, size
from paceline.config.value_format import ValueFormat

_NETWORKS: Final = 'addresses or networks like "10.0.0.0/8,192.0.2.1"'


def _refuse(expected: str) -> Never:
    raise PydanticCustomError("format", "expected {expected}", {"expected": expected})


def _text_parser(parse: Callable[[str], object], expected: str) -> BeforeValidator:
    """Parses a text with ``parse``; any other value is left as it is."""

    def convert(value: object) -> object:
        if isinstance(value, str):
            try:
                return parse(value)
            except ValueError:
                _refuse(expected)
        return value

    return BeforeValidator(convert)


def _to_members(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(member for part in value.split(",") if (member := part.strip()))


def _members_of(value: object) -> tuple[object, ...]:
    return tuple(cast("list[object]", value)) if isinstance(value, tuple | list) else ()


def _check_networks(value: object) -> object:
    for member in _members_of(value):
        try:
            ip_network(str(member), strict=False)
        except ValueError:
            _refuse(_NETWORKS)
    return value


def _to_lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def parsed_by(
    parse: Callable[[str], object], *, expected: str, metavar: str = "TEXT"
) -> ValueFormat:
    """Refuse a text for which ``parse`` raises ValueError; the value stays the text.

    ``metavar``: what stands for it in ``--help``.

    For an annotation: ``Annotated[str, parsed_by(parse_url, expected='like "grpc://…"')]``.
    """
    return _Parsed(expected, metavar=metavar, parse=parse)


@dataclass(frozen=True, slots=True)
class _Parsed(ValueFormat):
    parse: Callable[[str], object] = str

    def __get_pydantic_core_schema__(
        self, source: type[str], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, text: str) -> str:
        try:
            self.parse(text)
        except ValueError:
            _refuse(self.expected)
        return text


def _show_duration(value: object) -> str:
    return duration.format_duration(value) if isinstance(value, int | float) else str(value)


def _show_size(value: object) -> str:
    return size.format_size(value) if isinstance(value, int) else str(value)


def _show_members(value: object) -> str:
    return ",".join(cast("tuple[str, ...]", value)) if isinstance(value, tuple) else str(value)


def _to_pairs(value: object) -> object:
    if isinstance(value, dict):
        return tuple(cast("dict[object, object]", value).items())
    if not isinstance(value, str):
        return value
    pairs = [part.rpartition("=") for part in value.split(",") if part.strip()]
    return tuple((name.strip(), number.strip()) for name, _, number in pairs)


def _show_pairs(value: object) -> str:
    pairs = cast("tuple[tuple[str, int], ...]", value) if isinstance(value, tuple) else ()
    return ",".join(f"{name}={number}" for name, number in pairs)


@dataclass(frozen=True, slots=True)
class _NumbersByName(ValueFormat):
    names: frozenset[str] = frozenset()

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        known = core_schema.no_info_after_validator_function(self._check, handler(source))
        return core_schema.no_info_before_validator_function(_to_pairs, known)

    def _check(self, pairs: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
        names = [name for name, _ in pairs]
        if not self.names.issuperset(names) or len(set(names)) < len(names):
            _refuse(self.expected)
        return pairs


def numbers_by_name(names: Collection[str]) -> ValueFormat:
    """Numbers for some of ``names``, written "one=10,other=20", or as a table of the file.

    For an annotation: ``Annotated[tuple[tuple[str, PositiveInt], ...], numbers_by_name(NAMES)]``.
    """
    expected = f'"NAME=NUMBER", several with commas, the names among {", ".join(sorted(names))}'
    return _NumbersByName(expected, _show_pairs, "NAME=NUMBER,…", frozenset(names))


Duration = Annotated[
    float,
    _text_parser(duration.parse_duration, duration.EXPECTED),
    Field(ge=0, allow_inf_nan=False),
    ValueFormat(duration.EXPECTED, _show_duration, "DURATION"),
]
"""Seconds; written as in Go, "1m30s"."""

Port = Annotated[
    int,
    Field(ge=0, le=65535),
    ValueFormat("an integer between 0 and 65535", metavar="PORT"),
]
"""A TCP port; 0 lets the system choose."""

ByteSize = Annotated[
    int,
    _text_parser(size.parse_size, size.EXPECTED),
    Field(ge=0),
    ValueFormat(size.EXPECTED, _show_size, "BYTES"),
]
"""Bytes; written "1MiB", "512KiB" or "1048576"."""

CsvList = Annotated[
    tuple[str, ...],
    BeforeValidator(_to_members),
    ValueFormat('a list like "a,b,c"', _show_members, "LIST"),
]
"""Texts; written with commas between, without blanks around them, or as a list of the file."""

NetworkList = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: _check_networks(_to_members(value))),
    ValueFormat(_NETWORKS, _show_members, "NETWORKS"),
]
"""Addresses and networks, written as a `CsvList`: "10.0.0.0/8,192.0.2.1"."""

Ratio = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""A part of a whole, 0 to 1."""

LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_to_lower)]
"""A log level, in any case."""

__all__ = [
    "ByteSize",
    "CsvList",
    "Duration",
    "LogLevel",
    "NetworkList",
    "NonNegativeInt",
    "Port",
    "PositiveInt",
    "Ratio",
    "numbers_by_name",
    "parsed_by",
]
