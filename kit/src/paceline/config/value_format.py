"""The format of a setting's value: what is expected of the text, and how a value is shown.

A `ValueFormat` is part of a type's annotation; `expectation` finds it, or describes a plain type by
its bounds. So every error has one wording, "expected …, got …", and none is the validation
library's own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class ValueFormat:
    """What is ``expected`` (a phrase to follow that word), and how to ``show`` a value.

    ``metavar``: what stands for a value in ``--help``.
    """

    expected: str
    show: Callable[[object], str] = str
    metavar: str = "TEXT"


def value_format_of(field: FieldInfo) -> ValueFormat | None:
    """The format declared for a field or for its type; None for a plain type."""
    formats = [
        mark for _, marks in _parts(field) for mark in marks if isinstance(mark, ValueFormat)
    ]
    return formats[-1] if formats else None


def expectation(field: FieldInfo) -> str:
    """What is expected of a field's value: a phrase to follow that word."""
    value_format = value_format_of(field)
    if value_format is not None:
        return value_format.expected
    return " or ".join(
        _describe(kind, marks) for kind, marks in _parts(field) if kind is not NoneType
    )


def choices_of(field: FieldInfo) -> Sequence[str]:
    """The only values that the field takes; none if there are others."""
    kinds = [kind for kind, _ in _parts(field) if kind is not NoneType]
    found = [_choices(kind) for kind in kinds]
    return [choice for each in found for choice in each] if all(found) else []


def metavar_of(field: FieldInfo) -> str:
    """What stands for a value of the field: "[true|false]", "DURATION", "PORT"."""
    if choices := choices_of(field):
        return f"[{'|'.join(choices)}]"
    kinds = [kind for kind, _ in _parts(field) if isinstance(kind, type) and kind is not NoneType]
    for kind in kinds:
        if issubclass(kind, SecretStr):
            return getattr(kind, "metavar", "SECRET")
    value_format = value_format_of(field)
    if value_format is not None:
        return value_format.metavar
    names = {"int": "NUMBER", "float": "NUMBER", "Path": "PATH"}
    return names.get(kinds[0].__name__, "TEXT") if kinds else "TEXT"


def is_optional(field: FieldInfo) -> bool:
    """Whether the field may be None."""
    return any(kind is NoneType for kind, _ in _parts(field))


def is_secret(field: FieldInfo) -> bool:
    """Whether the field's value must not be shown."""
    return any(isinstance(kind, type) and issubclass(kind, SecretStr) for kind, _ in _parts(field))


def _parts(field: FieldInfo) -> Iterator[tuple[object, Sequence[object]]]:
    """Each plain type of a field, with the marks in its annotation."""
    return _split(field.annotation, tuple(field.metadata))


def _split(kind: object, marks: tuple[object, ...]) -> Iterator[tuple[object, Sequence[object]]]:
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *own = get_args(kind)
        yield from _split(inner, (*own, *marks))
    elif origin is Union or origin is UnionType:
        for member in get_args(kind):
            yield from _split(member, marks)
    else:
        yield kind, marks


def _describe(kind: object, marks: Sequence[object]) -> str:
    if kind is bool:
        return '"true" or "false"'
    if choices := _choices(kind):
        return "one of " + ", ".join(f'"{choice}"' for choice in choices)
    if not isinstance(kind, type):
        return "a valid value"
    if issubclass(kind, SecretStr):
        return getattr(kind, "expected", "a secret text")
    names = {"int": "an integer", "float": "a number", "str": "a text", "Path": "a path"}
    return names.get(kind.__name__, "a valid value") + _bounds(marks)


def _choices(kind: object) -> list[str]:
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [str(member.value) for member in kind]
    return ["true", "false"] if kind is bool else []


def _bounds(marks: Sequence[object]) -> str:
    """The bounds in a field's annotation, whichever of the library's marks has them."""
    bound = {
        name: value
        for mark in marks
        for name in ("ge", "gt", "le", "lt", "min_length", "max_length")
        if (value := getattr(mark, name, None)) is not None
    }
    if "ge" in bound and "le" in bound:
        return f" between {bound['ge']} and {bound['le']}"
    words = {
        "ge": "of at least {}",
        "gt": "above {}",
        "le": "of at most {}",
        "lt": "below {}",
        "min_length": "of at least {} characters",
        "max_length": "of at most {} characters",
    }
    parts = [words[name].format(value) for name, value in bound.items()]
    return "".join(f" {'and ' if n else ''}{part}" for n, part in enumerate(parts))
