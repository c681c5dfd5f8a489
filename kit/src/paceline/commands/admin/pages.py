"""Responses that are no JSON: text for a scraper, a picture for a browser.

The typed routes of ``paceline.http`` send JSON; a page is any bytes with their content type, made
by a coroutine, with the same access check and the same problem responses. The content security
policy keeps a picture from running scripts and from fetching anything.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, TypeVar, cast

from paceline.http import App, Middleware, Parameter, Place, Receive, Scope, Send, extractor_of

T = TypeVar("T")
Page: TypeAlias = Awaitable[tuple[bytes, str]]
_POLICY: Final = b"default-src 'none'; style-src 'unsafe-inline'"


def add_page(app: App, path: str, make: Callable[[Scope], Page], access: Middleware) -> None:
    """Serve at ``path`` what ``make`` gives: the content, and its type."""

    async def serve(scope: Scope, _receive: Receive, send: Send) -> None:
        content, content_type = await make(scope)
        headers = [
            (b"content-type", content_type.encode("latin-1")),
            (b"content-length", b"%d" % len(content)),
            (b"content-security-policy", _POLICY),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    app.router.add("GET", path, access(serve))


def query_reader(kind: type[T]) -> Callable[[Scope], T]:
    """What makes a struct of a request's query. Errors, of the reader: `Invalid`."""
    extract = extractor_of(Parameter("query", Place.QUERY, kind), ())
    return lambda scope: cast("T", extract(scope))
