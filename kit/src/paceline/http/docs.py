"""``/openapi.json`` and ``/docs``: the OpenAPI document, and a page to read it and try it.

The page is one self-contained file (``docs.html``): no network, no framework, nothing to update.
Its content security policy allows requests to this service only. Both answers are made once, when
`add_docs` is called.
"""

from importlib.resources import files
from typing import Final

import msgspec

from paceline.http.app import App
from paceline.http.asgi import ASGIApp, Receive, Scope, Send
from paceline.http.openapi import openapi_document

_POLICY: Final = (
    b"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def add_docs(app: App, *, title: str, version: str, description: str = "") -> None:
    """Serve the OpenAPI document of ``app``'s routes and the page; call it last."""
    spec = openapi_document(app, title=title, version=version, description=description)
    app.described = True
    page = files("paceline.http").joinpath("docs.html").read_bytes()
    app.router.add("GET", "/openapi.json", _static(msgspec.json.encode(spec), b"application/json"))
    app.router.add("GET", "/docs", _static(page, b"text/html; charset=utf-8"))


def _static(content: bytes, content_type: bytes) -> ASGIApp:
    headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(content)),
        (b"content-security-policy", _POLICY),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-cache"),
    ]

    async def serve(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        await send({"type": "http.response.body", "body": content})

    return serve
