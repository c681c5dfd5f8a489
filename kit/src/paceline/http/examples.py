"""Examples made from JSON schemas: values that their own schema allows.

What a type says is used: ``examples`` of `msgspec.Meta` first, then defaults, then the smallest
value that keeps the limits. Ids are the sample ids 1, 2, … (`sample_id`), a new one for each field,
so that data with these ids makes the examples true. Invariant: no example is better than a wrong
one, so a pattern that no simple text matches has none, and says where to put one.
"""

import re
from collections.abc import Mapping
from itertools import count
from typing import Any, Final
from uuid import UUID

Json = dict[str, Any]
_REF: Final = "#/components/schemas/"
_MAX_DEPTH: Final = 8
_FORMATS: Final = {
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "byte": "",
    "decimal": "1.00",
    "email": "someone@example.com",
}
_TEXTS: Final = ("example", "a", "A", "1", "2026-01-31")


class NoExampleError(ValueError):
    """A schema that needs an example of its own: ``msgspec.Meta(examples=[...])``."""


def sample_id(number: int) -> UUID:
    """The id that examples have: a UUID of version 7, so that it is one by every rule."""
    return UUID(int=(7 << 76) | (8 << 60) | number)


def example_of(schema: Json, components: Mapping[str, Json]) -> Any:
    """A value that ``schema`` allows. Errors: NoExampleError, when only its author knows one."""
    return _Examples(components).make(schema, 0)


class _Examples:
    def __init__(self, components: Mapping[str, Json]) -> None:
        self._components = components
        self._ids = count(1)

    def make(self, schema: Json, depth: int) -> Any:
        """One value; ``depth`` ends what refers to itself."""
        if depth > _MAX_DEPTH:
            raise NoExampleError("the type contains itself")
        for given in ("examples", "enum"):
            if schema.get(given):
                return schema[given][0]
        for given in ("const", "default"):
            if given in schema:
                return schema[given]
        if "$ref" in schema:
            return self.make(self._components[schema["$ref"].removeprefix(_REF)], depth + 1)
        for options in ("anyOf", "oneOf"):
            if options in schema:
                return self._first_of(schema[options], depth)
        return self._of_type(schema, depth)

    def _of_type(self, schema: Json, depth: int) -> Any:
        match schema.get("type"):
            case "object":
                found: Any = self._object(schema, depth)
            case "array":
                found = self._array(schema, depth)
            case "string" if schema.get("format") == "uuid":
                found = str(sample_id(next(self._ids)))
            case "string":
                found = _text(schema)
            case "integer" | "number":
                found = _number(schema)
            case "boolean":
                found = True
            case "null":
                found = None
            case _:
                found = Json()
        return found

    def _array(self, schema: Json, depth: int) -> list[Any]:
        if "prefixItems" in schema:
            return [self.make(item, depth + 1) for item in schema["prefixItems"]]
        least: int = schema.get("minItems", 1)
        return [self.make(schema.get("items") or {}, depth + 1) for _ in range(least)]

    def _object(self, schema: Json, depth: int) -> Json:
        properties: Json = schema.get("properties", {})
        required = schema.get("required", ())
        found: Json = {}
        for name, inner in properties.items():
            try:
                found[name] = self.make(inner, depth + 1)
            except NoExampleError as exc:
                if name in required:
                    raise NoExampleError(f"{name}: {exc}") from exc
        return found

    def _first_of(self, options: list[Json], depth: int) -> Any:
        """The first that can be made, null last."""
        reasons: list[str] = []
        for option in sorted(options, key=lambda one: one.get("type") == "null"):
            try:
                return self.make(option, depth + 1)
            except NoExampleError as exc:
                reasons.append(str(exc))
        raise NoExampleError("; ".join(reasons))


def _text(schema: Json) -> str:
    kind = schema.get("format")
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    pattern = schema.get("pattern", "")
    for text in [_FORMATS[kind]] if kind in _FORMATS else _TEXTS:
        padded = text.ljust(least, text[-1:] or "a")[:most]
        if re.search(pattern, padded):
            return padded
    raise NoExampleError(f"no simple text matches {pattern}: give Meta(examples=[...])")


def _number(schema: Json) -> int | float:
    step: int | float = schema.get("multipleOf", 1)
    least: int | float | None = schema.get("minimum")
    if least is None and "exclusiveMinimum" in schema:
        least = schema["exclusiveMinimum"] + step
    most: int | float | None = schema.get("maximum")
    if most is None and "exclusiveMaximum" in schema:
        most = schema["exclusiveMaximum"] - step
    found = step if least is None or least <= step else -(-least // step) * step
    return found if most is None or found <= most else most // step * step
