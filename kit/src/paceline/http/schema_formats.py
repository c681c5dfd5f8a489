"""Formats that JSON schemas of msgspec types lack, for clients that are generated from them.

Invariant: every integer says ``int64``, unless its bounds fit into 32 bits, since without a format
generators for Java, C# and Rust make it 32 bits, which overflows at 2,147,483,647; every time with
an offset says ``date-time``; and a choice of texts or of integers says which of both it is. msgspec
says none of it, so each schema is read beside the type that it was made of. A time that must have
no offset (``Meta(tz=False)``) is none by RFC 3339, and gets no format.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import inspect as types

Json = dict[str, Any]
_INT32: Final = 2**31
_Structure = types.StructType | types.TypedDictType | types.DataclassType | types.NamedTupleType


def add_formats(
    kinds: Sequence[Any], schemas: Sequence[Json], components: Mapping[str, Json]
) -> None:
    """Write the formats into ``schemas``, those of ``kinds``, and their ``components``."""
    writer = _Formats(components)
    for schema, found in zip(schemas, types.multi_type_info(kinds), strict=True):
        writer.write(schema, found)


class _Formats:
    def __init__(self, components: Mapping[str, Json]) -> None:
        self._components = components
        self._seen: set[str] = set()

    def write(self, schema: Json, kind: types.Type) -> None:
        while isinstance(kind, types.Metadata):
            kind = kind.type
        for option in schema.get("anyOf", ()):
            self.write(option, kind)
        if "$ref" in schema:
            schema = self._component(schema["$ref"])
        if "enum" in schema:
            _say_type(schema)
            return
        match schema.get("type"):
            case "integer":
                _say_integer(schema)
            case "string":
                if any(_is_time(each) for each in _options(kind)):
                    schema.setdefault("format", "date-time")
            case "array" | "object":
                for each in _options(kind):
                    self._write_inside(schema, each)
            case _:
                pass

    def _component(self, ref: str) -> Json:
        """What is referred to, when it is met for the first time."""
        name = ref.rpartition("/")[2]
        if name in self._seen:
            return {}
        self._seen.add(name)
        return self._components[name]

    def _write_inside(self, schema: Json, kind: types.Type) -> None:
        match kind:
            case types.StructType() | types.TypedDictType() | types.DataclassType():
                self._write_fields(schema, kind)
            case types.NamedTupleType():
                self._write_fields(schema, kind)
            case types.DictType():
                self.write(schema.get("additionalProperties") or {}, kind.value_type)
            case types.TupleType():
                for inner, each in zip(
                    schema.get("prefixItems", ()), kind.item_types, strict=False
                ):
                    self.write(inner, each)
            case types.CollectionType():
                if "items" in schema:
                    self.write(schema["items"], kind.item_type)
            case _:
                pass

    def _write_fields(self, schema: Json, kind: _Structure) -> None:
        names = [field.encode_name for field in kind.fields]
        tag = [kind.tag_field] if isinstance(kind, types.StructType) and kind.tag_field else []
        if "prefixItems" in schema:
            inner = schema["prefixItems"][len(tag) :]
        elif {*names, *tag} == {*schema.get("properties", ())}:
            inner = [schema["properties"][name] for name in names]
        else:
            return  # another structure of the same union
        for each, field in zip(inner, kind.fields, strict=False):
            self.write(each, field.type)


def _options(kind: types.Type) -> Sequence[types.Type]:
    """The types of a union, without what is said about them; else the type alone."""
    if isinstance(kind, types.Metadata):
        return _options(kind.type)
    if isinstance(kind, types.UnionType):
        return [inner for each in kind.types for inner in _options(each)]
    return [kind]


def _is_time(kind: types.Type) -> bool:
    return isinstance(kind, types.DateTimeType) and kind.tz is not False


def _say_type(choice: Json) -> None:
    values: Sequence[object] = choice["enum"]
    if all(isinstance(value, str) for value in values):
        choice.setdefault("type", "string")
    elif all(isinstance(value, int) for value in values):
        choice.setdefault("type", "integer")


def _say_integer(schema: Json) -> None:
    """Both bounds are needed for 32 bits; msgspec allows none beyond 64."""
    least: int | None = schema.get("minimum", schema.get("exclusiveMinimum"))
    most: int | None = schema.get("maximum", schema.get("exclusiveMaximum"))
    small = least is not None and most is not None and least >= -_INT32 and most < _INT32
    schema.setdefault("format", "int32" if small else "int64")
