"""The application: routes and groups, composed once into one ASGI callable.

``app = App(request_id(), real_ip(...), ...)``, ``api = app.group("/api/v1", authenticate(...))``,
``api.get("/records/{id}", handler.get)``. Middleware runs in the order written; a group's runs
after routing and inside the application's. HEAD, OPTIONS, 404 and 405 are answered here, and every
`Error` that leaves a route becomes a problem. Building the app does no I/O; what must start and
stop is in the caller's ``lifespan``.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import reduce
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

from paceline.edge import RegistrationError, describe_handler
from paceline.errors import Code, Error, NotFound
from paceline.http.asgi import ASGIApp, Message, Middleware, Receive, Scope, Send, at_route
from paceline.http.binding import PATH_VALUES, Handler, Parameter, Signature, signature_of
from paceline.http.conditional import CONDITIONS
from paceline.http.endpoint import endpoint_of
from paceline.http.problem import HttpError, Statuses, is_server_error, send_problem
from paceline.http.registration import (
    check_answer,
    check_body,
    check_errors,
    check_method,
    texts_of,
)
from paceline.http.routing import Router, find_route, names_in, shape_of

Lifespan = Callable[[], AbstractAsyncContextManager[None]]
DEFAULT_MAX_BODY: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Route:
    """One operation, as registered."""

    method: str
    pattern: str
    handler: Handler
    signature: Signature
    status: int
    scopes: frozenset[str]
    errors: tuple[type[Error], ...]
    tag: str
    conditional: bool = False

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Of its handler, and those that every conditional route has."""
        more = CONDITIONS if self.conditional else ()
        return (*self.signature.parameters, *more)


class RouteOptions(TypedDict, total=False):
    """``status``: of a success. ``scopes``: the caller needs. ``errors``: the handler may raise.

    ``tag``: the operation's group in the documentation; without, the first word of its path below
    the group's prefix. ``conditional``: the route reads something whose answer has an ``ETag``:
    ``If-None-Match`` with the same tag is answered with 304, ``If-Match`` with another with 412.
    """

    status: int
    scopes: Sequence[str]
    errors: Sequence[type[Error]]
    tag: str
    conditional: bool


@asynccontextmanager
async def _nothing() -> AsyncGenerator[None, None]:
    yield


class App:
    """An ASGI application; ``middleware`` in order, the outermost first.

    Settings: ``max_body`` in bytes (413 beyond); ``statuses``: HTTP statuses of the service's own
    error types; ``lifespan``: what an ASGI server enters at its start and leaves at its stop.

    Example::

        app = App(request_id(), recover(log))
        app.group("/api").get("/things/{id}", get_thing, scopes=["things:read"])
    """

    def __init__(
        self,
        *middleware: Middleware,
        max_body: int = DEFAULT_MAX_BODY,
        statuses: Statuses | None = None,
        lifespan: Lifespan = _nothing,
    ) -> None:
        self.routes: list[Route] = []
        self.described: bool = False
        """Whether its documents are made; then no route can be added."""
        self.statuses: Statuses = statuses or {}
        self.max_body = max_body
        self.router: Router[ASGIApp] = Router()
        self._lifespan = lifespan
        self._http = compose(middleware, self._dispatch)

    def group(self, prefix: str = "", *middleware: Middleware) -> "RouteGroup":
        """Routes under ``prefix`` that share ``middleware``, inside the application's own."""
        return RouteGroup(self, prefix, middleware)

    def check_addition(self, route: Route) -> None:
        """Refuse a route that would be in no document, or is there. Errors: ValueError."""
        if self.described:
            raise ValueError("it is added after add_docs, which describes it; call add_docs last")
        shape = shape_of(route.pattern)
        for each in self.routes:
            if each.method == route.method and shape_of(each.pattern) == shape:
                raise ValueError(
                    f"{each.method} {each.pattern} is there ({describe_handler(each.handler)});"
                    " give one of them another path"
                )

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            """Routes are a group's: it decides who may come in."""
            raise AttributeError(f"an App has no {name}{_instead(name, 'app.group()')}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        kind: str = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "lifespan":
            await self._run_lifespan(receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            raise ValueError(f"unknown ASGI connection type {kind!r}")

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            found = find_route(self.router, scope)
            if found is None:
                await _unrouted(scope, send)
            else:
                targets, scope[PATH_VALUES] = found
                target = targets.get(scope["method"])
                if target is None:
                    await _other_method(targets, scope, receive, send)
                else:
                    await target(scope, receive, send)
        except Error as exc:
            if is_server_error(exc, self.statuses):
                raise  # for the recover middleware, which logs it and answers
            await send_problem(scope, send, exc, self.statuses)

    async def _run_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        phase = "startup"
        try:
            async with self._lifespan():
                await send({"type": "lifespan.startup.complete"})
                phase = "shutdown"
                await receive()
        except Exception as exc:
            await send({"type": f"lifespan.{phase}.failed", "message": str(exc)})
            raise
        await send({"type": "lifespan.shutdown.complete"})


class RouteGroup:
    """Routes that share a prefix and middleware; made by `App.group`."""

    def __init__(self, app: App, prefix: str, middleware: Sequence[Middleware]) -> None:
        self._app = app
        self._prefix = prefix
        self._middleware = tuple(middleware)

    def group(self, prefix: str, *middleware: Middleware) -> "RouteGroup":
        """A group inside this one."""
        return RouteGroup(self._app, self._prefix + prefix, (*self._middleware, *middleware))

    def route(
        self, method: str, path: str, handler: Handler, **options: Unpack[RouteOptions]
    ) -> None:
        """Register a typed handler. Errors: `RegistrationError` that says what to write instead."""
        pattern = self._prefix + path
        try:
            self._add(method, pattern, handler, options)
        except RegistrationError:
            raise
        except (TypeError, ValueError) as exc:
            raise RegistrationError(f"{method} {pattern}", handler, str(exc)) from exc

    def _add(self, method: str, pattern: str, handler: Handler, options: RouteOptions) -> None:
        check_method(method)
        names = names_in(pattern)
        signature = signature_of(handler, names)
        route = Route(
            method,
            pattern,
            handler,
            signature,
            options.get("status", 200),
            frozenset(texts_of(options, "scopes", "notes:read")),
            tuple(options.get("errors", ())),
            options.get("tag") or _tag_of(pattern.removeprefix(self._prefix), self._prefix),
            options.get("conditional", False),
        )
        check_body(method, signature)
        check_answer(signature.returns, route.status)
        check_errors(route.errors)
        self._app.check_addition(route)
        endpoint = endpoint_of(
            handler,
            signature,
            names,
            status=route.status,
            scopes=route.scopes,
            max_body=self._app.max_body,
            conditional=route.conditional,
        )
        routed = at_route(pattern, route.scopes, compose(self._middleware, endpoint))
        self._app.router.add(method, pattern, routed)
        self._app.routes.append(route)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            """What other frameworks have is named with what there is instead."""
            raise AttributeError(f"a RouteGroup has no {name}{_instead(name, 'api')}")

    def get(self, path: str, handler: Handler, **options: Unpack[RouteOptions]) -> None:
        """Register a GET handler; HEAD comes with it."""
        self.route("GET", path, handler, **options)

    def post(self, path: str, handler: Handler, **options: Unpack[RouteOptions]) -> None:
        """Register a POST handler."""
        self.route("POST", path, handler, **options)

    def put(self, path: str, handler: Handler, **options: Unpack[RouteOptions]) -> None:
        """Register a PUT handler."""
        self.route("PUT", path, handler, **options)

    def delete(self, path: str, handler: Handler, **options: Unpack[RouteOptions]) -> None:
        """Register a DELETE handler."""
        self.route("DELETE", path, handler, **options)


def _instead(name: str, group: str) -> str:
    """What to write instead of a method that other frameworks have."""
    if name in {"get", "post", "put", "delete"}:
        return f'; routes are added to a group: {group}.{name}("/path", handler)'
    if name in {"patch", "head", "options"}:
        return f'; write {group}.route("{name.upper()}", "/path", handler)'
    if name in {"add_route", "add_api_route", "api_route"}:
        return f'; write {group}.route("GET", "/path", handler)'
    if name in {"include_router", "mount", "add_middleware", "middleware"}:
        return f'; write {group}.group("/prefix", *middleware)'
    return ""


def compose(middleware: Sequence[Middleware], app: ASGIApp) -> ASGIApp:
    """Wrap ``app``; the first middleware is the outermost."""
    return reduce(lambda inner, wrap: wrap(inner), reversed(middleware), app)


def _tag_of(path: str, prefix: str) -> str:
    """The first literal segment of ``path``, or else the last one of ``prefix``."""
    words = [word for word in path.split("/") if word and not word.startswith("{")]
    outer = [word for word in prefix.split("/") if word and not word.startswith("{")]
    return (words or outer[-1:] or ["root"])[0]


async def _unrouted(scope: Scope, send: Send) -> None:
    if scope["method"] == "OPTIONS" and scope["path"] == "*":
        await _send_allow(send, {"GET": None})
    else:
        raise NotFound("no such resource")


async def _other_method(
    targets: Mapping[str, ASGIApp], scope: Scope, receive: Receive, send: Send
) -> None:
    """HEAD and OPTIONS come with any route; everything else is 405."""
    method: str = scope["method"]
    if method == "HEAD" and "GET" in targets:
        await targets["GET"](scope, receive, _without_body(send))
    elif method == "OPTIONS":
        await _send_allow(send, targets)
    else:
        raise HttpError(
            HTTPStatus.METHOD_NOT_ALLOWED,
            f"{method[:32]} is not possible here",
            code=Code.UNIMPLEMENTED,
            headers=[(b"allow", _allow(targets))],
        )


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head


def _allow(targets: Mapping[str, object]) -> bytes:
    implied = {"OPTIONS", "HEAD"} if "GET" in targets else {"OPTIONS"}
    return ", ".join(sorted({*targets, *implied})).encode()


async def _send_allow(send: Send, targets: Mapping[str, object]) -> None:
    headers = [(b"allow", _allow(targets))]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
