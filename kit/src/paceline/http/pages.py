"""Pages: answers that are not JSON, such as text for a scraper or a picture for a browser.

Typed routes answer JSON. A page is any bytes with their content type, made by a coroutine, with the
same middleware and the same problems as a route. Unless another content security policy is given,
a page may neither run scripts nor fetch anything.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, TypeVar, cast

from paceline.http.app import App
from paceline.http.asgi import Middleware, Receive, Scope, Send
from paceline.http.binding import Parameter, ParameterLocation, extractor_of

T = TypeVar("T")
Page: TypeAlias = Awaitable[tuple[bytes, str]]
"""What makes a page: an awaitable of its content and its content type."""

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def add_page(
    app: App,
    path: str,
    make: Callable[[Scope], Page],
    middleware: Middleware,
    *,
    policy: str = _POLICY,
) -> None:
    """Serve at ``path`` what ``make`` returns, inside ``middleware``.

    ``policy``: its content security policy.
    """

    async def serve(scope: Scope, _receive: Receive, send: Send) -> None:
        content, content_type = await make(scope)
        headers = [
            (b"content-type", content_type.encode("latin-1")),
            (b"content-length", b"%d" % len(content)),
            (b"content-security-policy", policy.encode("latin-1")),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    app.router.add("GET", path, middleware(serve))


def query_reader(kind: type[T]) -> Callable[[Scope], T]:
    """A function that reads a request's query into a struct, and raises InvalidRequest."""
    extract = extractor_of(Parameter("query", ParameterLocation.QUERY, kind), ())
    return lambda scope: cast("T", extract(scope))
