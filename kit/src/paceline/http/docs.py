"""``/openapi.json`` and ``/docs``: the OpenAPI document, and a page to read it and try it.

The page is Swagger UI, vendored below ``docs_page/swagger-ui`` (``tools/swagger_ui.py``), and a
script of our own beside it for what Swagger UI has not: streams of events, gRPC methods, a token
from the address. Nothing comes from another host, and the content security policy says so: scripts
and styles are files of this service, no inline code runs, and requests go to this service only.
Files are read when they are first asked for.
"""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.resources import files
from typing import Final

import msgspec

from paceline.http.app import App
from paceline.http.assets import Asset
from paceline.http.openapi import openapi_document

_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_JS: Final = "text/javascript; charset=utf-8"
_CSS: Final = "text/css; charset=utf-8"
_VIEWER: Final = {
    "swagger-ui-bundle.js": ("swagger-ui/swagger-ui-bundle.js.gz", _JS),
    "swagger-ui.css": ("swagger-ui/swagger-ui.css.gz", _CSS),
    "docs.js": ("docs.js", _JS),
    "docs.css": ("docs.css", _CSS),
}

DOCS_PATHS: Final = ("/openapi.json", "/docs", *(f"/docs/{name}" for name in _VIEWER))
"""What `add_docs` serves."""

Extension = Callable[[], object]
"""Makes the value of an ``x-…`` member of the document, when it is first asked for."""


def add_docs(
    app: App,
    *,
    title: str,
    version: str,
    description: str = "",
    extensions: Mapping[str, Extension] | None = None,
) -> None:
    """Serve the OpenAPI document of ``app``'s routes and the page; call it last.

    ``extensions``: members of the document by their names, ``x-…``; the mapping is read when the
    document is first asked for, so what is added to it until then is in the document. The page
    shows ``x-grpc`` (`paceline.grpc.describe`). A token after ``/docs#token=`` is stored by the
    page and used for requests.

    Errors: ValueError for an extension that is not called ``x-…``.
    """
    added: Mapping[str, Extension] = {} if extensions is None else extensions
    if wrong := [name for name in added if not name.startswith("x-")]:
        raise ValueError(f"an extension's name starts with x-: {', '.join(wrong)}")
    spec = openapi_document(app, title=title, version=version, description=description)
    app.described = True

    def document() -> bytes:
        return msgspec.json.encode({**spec, **{name: make() for name, make in added.items()}})

    assets = {
        name: Asset(partial(_read, path), kind, compressed=path.endswith(".gz"))
        for name, (path, kind) in _VIEWER.items()
    }

    def page() -> bytes:
        text = _read("index.html").decode()
        for name, asset in assets.items():
            text = text.replace(f"docs/{name}", f"docs/{name}?v={asset.tag}")
        return text.encode()

    headers = [(b"content-security-policy", _POLICY), (b"referrer-policy", b"no-referrer")]
    index = Asset(page, "text/html; charset=utf-8", headers=headers)
    app.router.add("GET", "/openapi.json", Asset(document, "application/json").__call__)
    app.router.add("GET", "/docs", index.__call__)
    for name, asset in assets.items():
        app.router.add("GET", f"/docs/{name}", asset.__call__)


def _read(path: str) -> bytes:
    return files("paceline.http").joinpath("docs_page", path).read_bytes()
