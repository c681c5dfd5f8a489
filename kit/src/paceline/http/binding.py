"""A handler's arguments: markers in its signature, compiled to extractors once.

``async def get(self, id: Path[UUID], params: Query[ListParams], if_match: Header[str | None],
body: Body[NewRecord], principal: Provided[Principal])``: each parameter states where it comes from,
and its type what it must be. A signature that cannot be served fails when the route is added, never
on a request. Path, query and header values are text, so they are converted leniently ("10" is an
int); bodies are strict. The OpenAPI document is made from the same `Parameter` list, so it cannot
drift from the code.
"""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import (
    Annotated,
    Any,
    Final,
    TypeAlias,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)
from urllib.parse import parse_qsl

import msgspec

from paceline.errors import Unauthorized
from paceline.http.asgi import Scope, header_list, headers_of
from paceline.http.problem import FieldError, InvalidRequest

T = TypeVar("T")
Handler: TypeAlias = Callable[..., Awaitable[object]]
Extractor: TypeAlias = Callable[[Scope], object]

PATH_VALUES: Final = "paceline.path"
PROVIDED: Final = "paceline.provided"
_MAX_QUERY_FIELDS: Final = 100


class ParameterLocation(Enum):
    """Where an argument comes from; the values are OpenAPI's."""

    PATH = "path"
    QUERY = "query"
    HEADER = "header"
    BODY = "body"
    PROVIDED = "provided"


Path: TypeAlias = Annotated[T, ParameterLocation.PATH]
Query: TypeAlias = Annotated[T, ParameterLocation.QUERY]
Header: TypeAlias = Annotated[T, ParameterLocation.HEADER]
Body: TypeAlias = Annotated[T, ParameterLocation.BODY]
Provided: TypeAlias = Annotated[T, ParameterLocation.PROVIDED]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a handler: its name, its location, its type without the marker."""

    name: str
    location: ParameterLocation
    type: Any
    default: object = msgspec.NODEFAULT

    @property
    def header(self) -> str:
        """The header's name on the wire: ``if_match`` reads ``if-match``."""
        return self.name.replace("_", "-")


@dataclass(frozen=True, slots=True)
class Signature:
    """A handler's parameters in order, and what it returns without its ``Reply``."""

    parameters: tuple[Parameter, ...]
    returns: Any

    @property
    def body(self) -> Parameter | None:
        """The parameter made from the request body, if any."""
        return next((p for p in self.parameters if p.location is ParameterLocation.BODY), None)


def provide(scope: Scope, value: object) -> None:
    """Pass ``value`` to handlers with a ``Provided[type(value)]`` parameter; for middleware."""
    scope.setdefault(PROVIDED, {})[type(value)] = value


def signature_of(handler: Handler, path_names: Sequence[str]) -> Signature:
    """Read a handler's signature. Errors: TypeError that says what to write instead."""
    _check_async(handler)
    try:
        hints = get_type_hints(handler, include_extras=True)
    except NameError as exc:
        raise TypeError(
            f"{exc.name} cannot be found: types of a handler are needed at run time, so import"
            " it outside of TYPE_CHECKING"
        ) from exc
    taken = inspect.signature(handler).parameters.values()
    parameters = tuple(_parameter(p, hints, path_names) for p in taken)
    _check_path(parameters, path_names)
    bodies = [p.name for p in parameters if p.location is ParameterLocation.BODY]
    if len(bodies) > 1:
        raise TypeError(
            f"{' and '.join(bodies)} are both the body; write one msgspec.Struct with the fields"
            " of both"
        )
    if "return" not in hints:
        raise TypeError("it has no return type; write -> and the type of its answer, or -> None")
    return Signature(parameters, hints["return"])


def _check_async(handler: object) -> None:
    if inspect.iscoroutinefunction(handler):
        return
    if inspect.iscoroutine(handler):
        handler.close()
        raise TypeError("it was called; pass the function itself, without ()")
    if inspect.isclass(handler) or not callable(handler):
        raise TypeError("it is not a function; pass an async function or method")
    name = getattr(handler, "__name__", "handler")
    if inspect.isasyncgenfunction(handler):
        raise TypeError(f"it yields; a handler of a stream returns Events: async def {name}")
    raise TypeError(f"it is not async; write async def {name}")


def _check_path(parameters: Sequence[Parameter], path_names: Sequence[str]) -> None:
    taken = [p.name for p in parameters if p.location is ParameterLocation.PATH]
    if missing := [name for name in path_names if name not in taken]:
        name = missing[0]
        raise TypeError(
            f"no argument takes {{{name}}} of the path; write {name}: Path[str], or the type it has"
        )
    if extra := [name for name in taken if name not in path_names]:
        name = extra[0]
        has = " and ".join(f"{{{each}}}" for each in path_names) or "no names"
        raise TypeError(
            f"{name} comes from the path, which has {has}; write {{{name}}} into the path, or"
            f" take {name} from the query"
        )


def _parameter(p: inspect.Parameter, hints: dict[str, Any], path_names: Sequence[str]) -> Parameter:
    hint = hints.get(p.name)
    _check_kind(p)
    markers = (
        [m for m in get_args(hint)[1:] if isinstance(m, ParameterLocation)]
        if _annotated(hint)
        else []
    )
    if len(markers) != 1:
        raise TypeError(_where_from(p.name, hint, path_names))
    inner, *metadata = get_args(hint)
    rest = tuple(m for m in metadata if not isinstance(m, ParameterLocation))
    kind = Annotated[(inner, *rest)] if rest else inner
    if markers[0] is not ParameterLocation.PROVIDED:
        check_type(p.name, kind)
    if markers[0] is ParameterLocation.QUERY and not is_struct(kind):
        raise TypeError(
            f"{p.name}: Query[...] takes all parameters of the query; write a msgspec.Struct with"
            f" the field {p.name}: {_shown(kind)}, and Query[...] of it"
        )
    default = msgspec.NODEFAULT if p.default is inspect.Parameter.empty else p.default
    return Parameter(p.name, markers[0], kind, default)


def _check_kind(p: inspect.Parameter) -> None:
    """Arguments are passed by position, one for each parameter."""
    if p.kind in {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
        stars = "*" if p.kind is inspect.Parameter.VAR_POSITIONAL else "**"
        raise TypeError(f"{stars}{p.name} takes anything; name each argument that it needs")
    if p.kind is inspect.Parameter.KEYWORD_ONLY:
        raise TypeError(f"{p.name} is keyword-only; remove the * before it")


def _where_from(name: str, hint: Any, path_names: Sequence[str]) -> str:
    shown = "..." if hint is None else _shown(hint)
    missing = f"{name} does not say where it comes from; write {name}: "
    if _annotated(hint):
        return f"{missing}one of Path, Query, Header, Body and Provided, not several"
    if name in path_names:
        return f"{missing}Path[{'str' if hint is None else shown}]"
    if is_struct(hint):
        return f"{missing}Body[{shown}], or Query[{shown}]"
    if find_foreign(hint) is not None:
        check_type(name, hint)
    return f"{missing}Path[{shown}], Header[{shown}], Body[...], Query[...] or Provided[...]"


def check_type(name: str, kind: Any) -> None:
    """Refuse a type that JSON can neither be decoded to nor made of.

    Errors: TypeError.
    """
    foreign = find_foreign(kind)
    if foreign is not None:
        what = "a pydantic model" if hasattr(foreign, "__pydantic_fields__") else "no type of JSON"
        raise TypeError(
            f"{name} has {foreign.__name__}, which is {what}; write it as a struct:"
            f" class {foreign.__name__}(msgspec.Struct)"
        )
    msgspec.json.Decoder(kind)  # refuses what it could not decode


def find_foreign(kind: Any) -> type | None:
    """The first class in ``kind`` that msgspec does not know; None when it knows all."""
    if kind is None or kind is inspect.Parameter.empty:
        return None
    seen: set[int] = set()
    waiting: list[object] = [msgspec.inspect.type_info(kind)]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, msgspec.inspect.CustomType):
            if node.cls is not object:
                return node.cls
        elif isinstance(node, tuple):
            waiting += cast("tuple[object, ...]", node)
        elif isinstance(node, msgspec.inspect.Type | msgspec.inspect.Field):
            waiting += [getattr(node, name) for name in node.__struct_fields__]
    return None


def _shown(kind: Any) -> str:
    """A type as one writes it."""
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")


def _annotated(hint: object) -> bool:
    return get_origin(hint) is Annotated


def extractor_of(parameter: Parameter, path_names: Sequence[str]) -> Extractor:
    """The function that makes one argument (not the body) from a request's scope."""
    match parameter.location:
        case ParameterLocation.PATH:
            return _path(parameter, path_names.index(parameter.name))
        case ParameterLocation.QUERY:
            return _query(parameter)
        case ParameterLocation.HEADER:
            return _header(parameter)
        case ParameterLocation.PROVIDED:
            return _provided(parameter)
        case ParameterLocation.BODY:
            raise ValueError("the body is not extracted from the scope")


def _path(parameter: Parameter, position: int) -> Extractor:
    kind, name = parameter.type, parameter.name
    convert = msgspec.convert

    def extract(scope: Scope) -> object:
        try:
            return convert(scope[PATH_VALUES][position], kind, strict=False)
        except msgspec.ValidationError as exc:
            raise _invalid(exc, name, ParameterLocation.PATH) from exc

    return extract


def _header(parameter: Parameter) -> Extractor:
    kind, default = parameter.type, parameter.default
    label, name = parameter.header, parameter.header.encode()
    optional = default is not msgspec.NODEFAULT or type(None) in get_args(kind)
    absent = None if default is msgspec.NODEFAULT else default

    def extract(scope: Scope) -> object:
        if name not in headers_of(scope):
            if optional:
                return absent
            raise InvalidRequest([FieldError("required", parameter=f"header {label}")])
        text = b", ".join(header_list(scope, name)).decode("latin-1")
        try:
            return msgspec.convert(text, kind, strict=False)
        except msgspec.ValidationError as exc:
            raise _invalid(exc, label, ParameterLocation.HEADER) from exc

    return extract


def _provided(parameter: Parameter) -> Extractor:
    kind = parameter.type

    def extract(scope: Scope) -> object:
        try:
            return scope[PROVIDED][kind]
        except KeyError as exc:
            # No middleware provided it, so nobody is authenticated: the route fails closed.
            raise Unauthorized from exc

    return extract


def _query(parameter: Parameter) -> Extractor:
    fields = msgspec.structs.fields(parameter.type)
    lists = {f.encode_name for f in fields if _is_list(f.type)}
    known = {f.encode_name for f in fields}

    def extract(scope: Scope) -> object:
        values = _query_values(scope["query_string"], known, lists)
        try:
            return msgspec.convert(values, parameter.type, strict=False)
        except msgspec.ValidationError as exc:
            errors = struct_errors(values, parameter.type, exc, strict=False)
            raise InvalidRequest([_as_parameter(e) for e in errors]) from exc

    return extract


def _is_list(kind: Any) -> bool:
    return get_origin(kind) in {list, tuple, set, frozenset}


def _query_values(raw: bytes, known: set[str], lists: set[str]) -> dict[str, object]:
    if not raw:
        return {}
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MAX_QUERY_FIELDS,
        )
    except ValueError as exc:
        raise InvalidRequest([FieldError("not a valid query string", parameter="query")]) from exc
    values: dict[str, Any] = {}
    errors: list[FieldError] = []
    for name, value in pairs:
        if name not in known:
            errors.append(FieldError("unknown parameter", parameter=f"query {name}"))
        elif name in lists:
            values.setdefault(name, []).append(value)
        elif name in values:
            errors.append(FieldError("given more than once", parameter=f"query {name}"))
        else:
            values[name] = value
    if errors:
        raise InvalidRequest(errors)
    return values


def struct_errors(
    values: object, kind: Any, first: msgspec.ValidationError, *, strict: bool
) -> list[FieldError]:
    """Every wrong field of a struct, not just the first; for when msgspec has refused one."""
    if not isinstance(values, dict) or not is_struct(kind):
        return [_field_error(first)]
    given = cast(dict[str, object], values)
    errors: list[FieldError] = []
    fields = {f.encode_name: f for f in msgspec.structs.fields(kind)}
    for name, field in fields.items():
        if name not in given:
            if field.required:
                errors.append(FieldError("required", pointer=f"#/{_escape(name)}"))
            continue
        if field.type is msgspec.Raw:
            continue  # any value is right, and one that is parsed is no Raw any more
        try:
            msgspec.convert(given[name], field.type, strict=strict)
        except msgspec.ValidationError as exc:
            errors.append(_field_error(exc, f"#/{_escape(name)}"))
    if kind.__struct_config__.forbid_unknown_fields:
        unknown = [name for name in given if name not in fields]
        errors += [FieldError("unknown field", pointer=f"#/{_escape(n)}") for n in unknown]
    return errors or [_field_error(first)]


def is_struct(kind: Any) -> bool:
    """Whether it is a msgspec.Struct."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _field_error(exc: msgspec.ValidationError, prefix: str = "#") -> FieldError:
    detail, _, path = str(exc).partition(" - at `")
    return FieldError(detail[:1].lower() + detail[1:], pointer=prefix + _pointer(path.rstrip("`")))


def _pointer(path: str) -> str:
    """Msgspec's ``$.metadata[...]`` as a JSON pointer, as far as msgspec knows it."""
    path = path.removeprefix("$").replace("[...]", "")
    parts = path.replace("[", ".").replace("]", "").split(".")
    return "".join(f"/{part}" for part in parts if part)


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _as_parameter(error: FieldError) -> FieldError:
    name = (error.pointer or "").removeprefix("#/")
    return FieldError(error.detail, parameter=f"query {name}")


def _invalid(
    exc: msgspec.ValidationError, name: str, location: ParameterLocation
) -> InvalidRequest:
    return InvalidRequest(
        [FieldError(_field_error(exc).detail, parameter=f"{location.value} {name}")]
    )
