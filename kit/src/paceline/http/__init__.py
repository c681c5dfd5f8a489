"""HTTP: a thin typed layer over plain ASGI, compiled once at start-up.

A handler is a typed async function; what it declares (path, query, headers, body) is turned into
decoders when the route is added, so a request pays only for what it uses. Middleware is plain
ASGI, ``app -> app``, so anybody's works. Read ``app`` (dispatch), then ``binding`` (how arguments
are made), then ``problem`` (how errors leave). ``server`` runs any ASGI app on uvicorn.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.http.app import App, Lifespan, RouteGroup
    from paceline.http.asgi import (
        ASGIApp,
        Headers,
        Message,
        Middleware,
        Receive,
        Scope,
        Send,
        headers_of,
    )
    from paceline.http.binding import (
        Body,
        Header,
        Parameter,
        Path,
        Place,
        Provided,
        Query,
        extractor_of,
    )
    from paceline.http.body import read_bytes
    from paceline.http.conditional import IfMatch, entity_tag, expected_versions
    from paceline.http.docs import add_docs
    from paceline.http.endpoint import Reply
    from paceline.http.events import Events, event
    from paceline.http.probes import add_probes
    from paceline.http.problem import Statuses
    from paceline.http.server import HttpServer, bind, cannot_listen
    from paceline.http.testing import TestClient, TestResponse
    from paceline.http.tracking import track
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "ASGIApp": "asgi",
            "App": "app",
            "Body": "binding",
            "Events": "events",
            "Header": "binding",
            "Headers": "asgi",
            "HttpServer": "server",
            "IfMatch": "conditional",
            "Lifespan": "app",
            "Message": "asgi",
            "Middleware": "asgi",
            "Parameter": "binding",
            "Path": "binding",
            "Place": "binding",
            "Provided": "binding",
            "Query": "binding",
            "Receive": "asgi",
            "Reply": "endpoint",
            "RouteGroup": "app",
            "Scope": "asgi",
            "Send": "asgi",
            "Statuses": "problem",
            "TestClient": "testing",
            "TestResponse": "testing",
            "add_docs": "docs",
            "add_probes": "probes",
            "bind": "server",
            "cannot_listen": "server",
            "entity_tag": "conditional",
            "event": "events",
            "expected_versions": "conditional",
            "extractor_of": "binding",
            "headers_of": "asgi",
            "read_bytes": "body",
            "track": "tracking",
        },
    )

__all__ = [
    "ASGIApp",
    "App",
    "Body",
    "Events",
    "Header",
    "Headers",
    "HttpServer",
    "IfMatch",
    "Lifespan",
    "Message",
    "Middleware",
    "Parameter",
    "Path",
    "Place",
    "Provided",
    "Query",
    "Receive",
    "Reply",
    "RouteGroup",
    "Scope",
    "Send",
    "Statuses",
    "TestClient",
    "TestResponse",
    "add_docs",
    "add_probes",
    "bind",
    "cannot_listen",
    "entity_tag",
    "event",
    "expected_versions",
    "extractor_of",
    "headers_of",
    "read_bytes",
    "track",
]
