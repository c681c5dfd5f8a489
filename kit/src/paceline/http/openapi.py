"""The OpenAPI 3.1 document, made from the same types that serve the requests.

Paths come from the route list, schemas from the msgspec types in the handlers' signatures, texts
from their docstrings, error statuses from what a route declares and from what the HTTP layer itself
can answer. So there is no second description to keep in step. Operations are grouped by tags, and
bodies and required parameters have an example that their own type takes.
"""

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, get_args, get_origin

import msgspec

from paceline.errors import Code, Error
from paceline.http.app import App, Route
from paceline.http.binding import Parameter, ParameterLocation
from paceline.http.endpoint import Reply
from paceline.http.events import EVENT_STREAM, Events
from paceline.http.examples import NoExampleError, example_of
from paceline.http.problem import Problem, Statuses, status_of, title_of
from paceline.http.schema_formats import add_formats

Json = dict[str, Any]
_REFS: Final = "#/components/schemas/{name}"
_BEARER: Final = "bearerAuth"


def openapi_document(app: App, *, title: str, version: str, description: str = "") -> Json:
    """The whole document, as plain data."""
    routes = sorted(app.routes, key=lambda route: (route.pattern, route.method))
    schemas = _Schemas(routes)
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.pattern, {})[route.method.lower()] = _operation(
            route, schemas, app.statuses
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description},
        "tags": [{"name": tag} for tag in _tags(routes)],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                _BEARER: {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


class _Schemas:
    """Every type of the routes, as a schema; structs by reference."""

    def __init__(self, routes: Iterable[Route]) -> None:
        kinds: list[Any] = [Problem]
        for route in routes:
            kinds += [
                p.type for p in route.parameters if p.location is not ParameterLocation.PROVIDED
            ]
            kinds += [_returned(route)]
            kinds += [f.type for p in _queries(route) for f in msgspec.structs.fields(p.type)]
        self._kinds = kinds
        found, self.components = msgspec.json.schema_components(kinds, ref_template=_REFS)
        self._found = list(found)
        add_formats(kinds, self._found, self.components)
        for name in {p.type.__name__ for route in routes for p in _queries(route)}:
            self.components.pop(name, None)

    def __getitem__(self, kind: Any) -> Json:
        position = next(i for i, known in enumerate(self._kinds) if known is kind or known == kind)
        return dict(self._found[position])

    def body_example(self, schema: Json, kind: Any) -> Json:
        """The ``example`` of a body; nothing when none can be made."""
        return self._example(
            schema, lambda value: msgspec.json.decode(msgspec.json.encode(value), type=kind)
        )

    def parameter_example(self, schema: Json, kind: Any) -> Json:
        """The ``example`` of a parameter, which is text when it is sent; nothing likewise."""
        return self._example(schema, lambda value: msgspec.convert(value, kind, strict=False))

    def _example(self, schema: Json, check: Callable[[object], object]) -> Json:
        try:
            value = example_of(schema, self.components)
            check(value)
        except (NoExampleError, msgspec.ValidationError):
            return {}
        return {"example": value}


def _tags(routes: Iterable[Route]) -> list[str]:
    """The groups, by name; last those that nobody needs a token for, such as probes."""
    protected = {route.tag for route in routes if route.scopes}
    return sorted({route.tag for route in routes}, key=lambda tag: (tag not in protected, tag))


def _queries(route: Route) -> list[Parameter]:
    return [p for p in route.parameters if p.location is ParameterLocation.QUERY]


def _returned(route: Route) -> Any:
    returns = route.signature.returns
    return get_args(returns)[0] if get_origin(returns) in {Reply, Events} else returns


def _operation(route: Route, schemas: _Schemas, statuses: Statuses) -> Json:
    summary, _, description = (inspect.getdoc(route.handler) or "").partition("\n")
    operation: Json = {
        "tags": [route.tag],
        "operationId": getattr(route.handler, "__name__", route.pattern),
        "summary": summary.rstrip(".").replace("`", ""),  # plain text; the description is Markdown
        "description": description.strip(),
        "parameters": list(_parameters(route, schemas)),
        "responses": _responses(route, schemas, statuses),
    }
    body = route.signature.body
    if body is not None:
        schema = schemas[body.type]
        example = schemas.body_example(schema, body.type)
        content = {"application/json": {"schema": schema, **example}}
        operation["requestBody"] = {"required": True, "content": content}
    if route.scopes:
        operation["security"] = [{_BEARER: sorted(route.scopes)}]
    return operation


def _parameters(route: Route, schemas: _Schemas) -> Iterable[Json]:
    for parameter in route.parameters:
        match parameter.location:
            case ParameterLocation.PATH:
                schema = schemas[parameter.type]
                example = schemas.parameter_example(schema, parameter.type)
                yield _parameter(parameter.name, parameter.location, schema, example)
            case ParameterLocation.HEADER:
                options = get_args(parameter.type)
                required = type(None) not in options and parameter.default is msgspec.NODEFAULT
                schema = _not_null(schemas[parameter.type])
                example = schemas.parameter_example(schema, parameter.type) if required else {}
                yield _parameter(
                    parameter.header, parameter.location, schema, example, required=required
                )
            case ParameterLocation.QUERY:
                for field in msgspec.structs.fields(parameter.type):
                    schema = _not_null(schemas[field.type])
                    if field.default not in {msgspec.NODEFAULT, None}:
                        schema["default"] = msgspec.to_builtins(field.default)
                    example = (
                        schemas.parameter_example(schema, field.type) if field.required else {}
                    )
                    yield _parameter(
                        field.encode_name,
                        parameter.location,
                        schema,
                        example,
                        required=field.required,
                    )
            case _:
                pass


def _parameter(
    name: str, location: ParameterLocation, schema: Json, example: Json, *, required: bool = True
) -> Json:
    found: Json = {"name": name, "in": location.value, "required": required, "schema": schema}
    if "description" in schema:
        found["description"] = schema.pop("description")
    return {**found, **example}


def _not_null(schema: Json) -> Json:
    """An optional parameter is left out, not sent as null."""
    options: Sequence[Json] = schema.get("anyOf", ())
    kept = [option for option in options if option.get("type") != "null"]
    return dict(kept[0]) if len(kept) == 1 else schema


def _responses(route: Route, schemas: _Schemas, statuses: Statuses) -> Json:
    kind = _returned(route)
    success: Json = {"description": title_of(route.status)}
    if kind is not None and kind is not type(None):
        success["content"] = _content(route, schemas, kind)
    responses: Json = {str(route.status): success}
    if route.conditional:
        responses["304"] = {"description": title_of(304)}
    for status in sorted(_error_statuses(route, statuses)):
        responses[str(status)] = _problem(title_of(status), schemas)
    responses["default"] = _problem("Any other problem", schemas)
    return responses


def _content(route: Route, schemas: _Schemas, kind: Any) -> Json:
    schema = schemas[kind]
    if get_origin(route.signature.returns) is not Events:
        return {"application/json": {"schema": schema, **schemas.body_example(schema, kind)}}
    # OpenAPI 3.1 cannot describe the items of a stream; 3.2 has itemSchema.
    stream = {"type": "string", "description": "server-sent events; the data of each is JSON"}
    return {EVENT_STREAM: {"schema": stream, "x-itemSchema": schema}}


def _problem(description: str, schemas: _Schemas) -> Json:
    content = {"application/problem+json": {"schema": schemas[Problem]}}
    return {"description": description, "content": content}


def _error_statuses(route: Route, statuses: Statuses) -> set[int]:
    locations = {parameter.location for parameter in route.parameters}
    found = {status_of(kind, _code_of(kind), statuses) for kind in route.errors}
    if ParameterLocation.BODY in locations:
        found |= {400, 413, 415, 422}
    if locations & {ParameterLocation.PATH, ParameterLocation.QUERY, ParameterLocation.HEADER}:
        found |= {422}
    if route.conditional:
        found |= {412}
    if route.scopes:
        found |= {401, 403, 429}
    return found


def _code_of(kind: type[Error]) -> Code:
    """The code of an error type, if its constructor needs no argument, as a sentinel's does."""
    try:
        return kind().code  # type: ignore[call-arg]
    except TypeError:
        return Code.INVALID_ARGUMENT
