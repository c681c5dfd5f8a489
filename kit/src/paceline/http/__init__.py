"""HTTP: a thin typed layer over plain ASGI, compiled at start-up, and a server for any ASGI app.

A handler is a typed async function; what it declares (path, query, headers, body) becomes decoders
when the route is added, so a request pays only for what it uses. Middleware is plain ASGI, ``app ->
app``, so foreign middleware fits: ``paceline.http.middleware`` has a service's usual set.

Example: ``app = App(*middleware)``, ``app.group("/api").get("/things/{id}", handler.get)``,
``server = HttpServer(app, log, host="127.0.0.1", port=8080)``.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.http.app import App, Lifespan, Route, RouteGroup, RouteOptions
    from paceline.http.asgi import (
        STREAMING,
        ASGIApp,
        Headers,
        Message,
        Middleware,
        Receive,
        Scope,
        Send,
        header_list,
        headers_of,
        route_of,
    )
    from paceline.http.binding import Body, Header, Path, Provided, Query, provide
    from paceline.http.body import read_body
    from paceline.http.conditional import (
        IfMatch,
        IfNoneMatchAny,
        entity_tag,
        expected_versions,
    )
    from paceline.http.docs import DOCS_PATHS, add_docs
    from paceline.http.endpoint import Reply
    from paceline.http.events import Events, event
    from paceline.http.examples import sample_id
    from paceline.http.negotiate import media_ranges
    from paceline.http.openapi import openapi_document
    from paceline.http.pages import Page, add_page, query_reader
    from paceline.http.probes import add_probes
    from paceline.http.problem import (
        STATUS,
        ClientDisconnected,
        FieldError,
        HttpError,
        InvalidRequest,
        Problem,
        Statuses,
        send_problem,
    )
    from paceline.http.response_tracker import ResponseTracker, track_response
    from paceline.http.server import AdmissionCheck, HttpServer, ServerLimits
    from paceline.http.testing import TestClient, TestResponse
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "ASGIApp": "asgi",
            "AdmissionCheck": "server",
            "App": "app",
            "Body": "binding",
            "ClientDisconnected": "problem",
            "DOCS_PATHS": "docs",
            "Events": "events",
            "FieldError": "problem",
            "Header": "binding",
            "Headers": "asgi",
            "HttpError": "problem",
            "HttpServer": "server",
            "IfMatch": "conditional",
            "IfNoneMatchAny": "conditional",
            "InvalidRequest": "problem",
            "Lifespan": "app",
            "Message": "asgi",
            "Middleware": "asgi",
            "Page": "pages",
            "Path": "binding",
            "Problem": "problem",
            "Provided": "binding",
            "Query": "binding",
            "Receive": "asgi",
            "Reply": "endpoint",
            "ResponseTracker": "response_tracker",
            "Route": "app",
            "RouteGroup": "app",
            "RouteOptions": "app",
            "STATUS": "problem",
            "STREAMING": "asgi",
            "Scope": "asgi",
            "Send": "asgi",
            "ServerLimits": "server",
            "Statuses": "problem",
            "TestClient": "testing",
            "TestResponse": "testing",
            "add_docs": "docs",
            "add_page": "pages",
            "add_probes": "probes",
            "entity_tag": "conditional",
            "event": "events",
            "expected_versions": "conditional",
            "header_list": "asgi",
            "headers_of": "asgi",
            "media_ranges": "negotiate",
            "openapi_document": "openapi",
            "provide": "binding",
            "query_reader": "pages",
            "read_body": "body",
            "route_of": "asgi",
            "sample_id": "examples",
            "send_problem": "problem",
            "track_response": "response_tracker",
        },
    )

__all__ = [
    "DOCS_PATHS",
    "STATUS",
    "STREAMING",
    "ASGIApp",
    "AdmissionCheck",
    "App",
    "Body",
    "ClientDisconnected",
    "Events",
    "FieldError",
    "Header",
    "Headers",
    "HttpError",
    "HttpServer",
    "IfMatch",
    "IfNoneMatchAny",
    "InvalidRequest",
    "Lifespan",
    "Message",
    "Middleware",
    "Page",
    "Path",
    "Problem",
    "Provided",
    "Query",
    "Receive",
    "Reply",
    "ResponseTracker",
    "Route",
    "RouteGroup",
    "RouteOptions",
    "Scope",
    "Send",
    "ServerLimits",
    "Statuses",
    "TestClient",
    "TestResponse",
    "add_docs",
    "add_page",
    "add_probes",
    "entity_tag",
    "event",
    "expected_versions",
    "header_list",
    "headers_of",
    "media_ranges",
    "openapi_document",
    "provide",
    "query_reader",
    "read_body",
    "route_of",
    "sample_id",
    "send_problem",
    "track_response",
]
