"""The admin port in a browser: the same paths as pages, with tables instead of JSON.

A request whose ``Accept`` prefers ``text/html`` gets one static page, whatever the path; its script
fetches the path's JSON, with the token that the user has given it, and shows it. So there is no
second description of anything, no text of the process is ever part of a document's source, and a
token is sent in a header only: it is never in a URL that a log or a history keeps. Everything else,
``*/*`` among it, gets what it always got. Rejected: pages that are made here, which a browser could
not open with a bearer token.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Final

from paceline.http import (
    App,
    ASGIApp,
    HttpError,
    Middleware,
    Receive,
    Scope,
    Send,
    headers_of,
    media_ranges,
)

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_OK, _UNAUTHORIZED = 200, 401
ASSETS: Final = {
    "admin.css": "text/css; charset=utf-8",
    "admin.js": "text/javascript; charset=utf-8",
    "flame.css": "text/css; charset=utf-8",
    "flame.js": "text/javascript; charset=utf-8",
}


def with_pages(restrict: Middleware) -> Middleware:
    """``restrict``, and a page for browsers that it lets through; others get it with 401.

    That page asks for the token. An explicit ``format=`` in the query is no page.
    """
    ask = restrict(_page(_OK))

    def wrap(app: ASGIApp) -> ASGIApp:
        restricted = restrict(app)

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            if not _is_for_a_browser(scope):
                await restricted(scope, receive, send)
                return
            try:
                await ask(scope, receive, send)
            except HttpError as exc:
                if exc.status != _UNAUTHORIZED:
                    raise
                await _page(_UNAUTHORIZED, exc.headers)(scope, receive, send)

        return serve

    return wrap


def add_assets(app: App) -> None:
    """What the page consists of. It says nothing of the process, so it needs no token."""
    for name, content_type in ASSETS.items():
        headers = {"content-type": content_type, "cache-control": "no-cache"}
        app.router.add("GET", f"/assets/{name}", _content(name, _OK, headers))


def prefers_html(accept: str) -> bool:
    """Whether a page is asked for by name, and more than JSON."""
    weights = {name: quality or 0.0 for name, quality in media_ranges(accept)}
    return weights.get("text/html", 0.0) > weights.get("application/json", 0.0)


def _is_for_a_browser(scope: Scope) -> bool:
    if scope["method"] not in {"GET", "HEAD"} or b"format=" in scope["query_string"]:
        return False
    return prefers_html(headers_of(scope).get(b"accept", b"").decode("latin-1"))


def _page(status: int, headers: Sequence[tuple[bytes, bytes]] = ()) -> ASGIApp:
    more = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    own = {"content-type": "text/html; charset=utf-8", "cache-control": "no-store"}
    return _content("admin.html", status, {**own, "vary": "Accept", **more})


def _content(name: str, status: int, headers: Mapping[str, str]) -> ASGIApp:
    async def serve(_scope: Scope, _receive: Receive, send: Send) -> None:
        content = _read(name)
        sent = {
            **headers,
            "content-length": str(len(content)),
            "content-security-policy": _POLICY,
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
        }
        fields = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": content})

    return serve


@cache
def _read(name: str) -> bytes:
    return files("paceline.commands.admin").joinpath("web", name).read_bytes()
