"""Trace: each request has a place in a trace, its caller's or a new one, and a span if sampled.

The ids are ambient (``paceline.trace``), go on with what the request sends, and are in its log
lines. The span is named by the matched route, never by the path, and fails with a status of 500 or
more. Names are OpenTelemetry's semantic conventions for HTTP servers. Around `access_log`, so that
its line has the trace's id.
"""

from collections.abc import Awaitable, Collection, Mapping
from typing import Final

from paceline.http.asgi import (
    ASGIApp,
    Middleware,
    Receive,
    Scope,
    Send,
    header_list,
    headers_of,
    known_method,
    route_of,
)
from paceline.http.response_tracker import track_response
from paceline.log import pop_fields, push_fields
from paceline.trace import Span, SpanKind, Tracer, attach, detach

_FAILURE: Final = 500
_SERVER: Final = SpanKind.SERVER  # before Python 3.12 looking a member up runs Python code


def trace(tracer: Tracer, *, skip_paths: Collection[str] = ()) -> Middleware:
    """Give each request its place in a trace. ``skip_paths``: paths without one (probes)."""
    skipped = frozenset(skip_paths)

    def wrap(app: ASGIApp) -> ASGIApp:
        def traced(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            if scope["path"] in skipped:
                return app(scope, receive, send)
            return within_trace(scope, receive, send)

        async def within_trace(scope: Scope, receive: Receive, send: Send) -> None:
            headers = headers_of(scope)
            if b"traceparent" in headers:
                context = tracer.enter("", _SERVER, *_received(scope, headers))
            else:
                context = tracer.enter("", _SERVER)
            place, fields = attach(context), push_fields(context.ids())
            try:
                if isinstance(context, Span):
                    await _record(context, app, scope, receive, send)
                else:
                    await app(scope, receive, send)
            finally:
                pop_fields(fields)
                detach(place)

        return traced

    return wrap


def _received(scope: Scope, headers: Mapping[bytes, bytes]) -> tuple[str | None, str]:
    """The two headers; none when the first came more than once, as the standard asks."""
    state = headers.get(b"tracestate", b"")
    if len(headers) != len(scope["headers"]):  # some header came twice
        if len(header_list(scope, b"traceparent")) > 1:
            return None, ""
        state = b",".join(header_list(scope, b"tracestate"))
    return headers[b"traceparent"].decode("latin-1"), state.decode("latin-1")


async def _record(span: Span, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    response, send = track_response(scope, send)
    try:
        await app(scope, receive, send)
    except BaseException as exc:
        span.fail(exc)
        raise
    finally:
        _describe(span, scope, response.status)
        span.end()


def _describe(span: Span, scope: Scope, status: int) -> None:
    method = known_method(scope["method"])
    route = route_of(scope)
    span.name = f"{method} {route}" if route else method
    client: tuple[str, int] | None = scope.get("client")
    span.attributes |= {
        "http.request.method": method,
        "url.path": scope["path"],
        "url.scheme": scope.get("scheme", "http"),
        "network.protocol.version": scope.get("http_version", "1.1"),
    }
    if route:
        span.attributes["http.route"] = route
    if client:
        span.attributes["client.address"] = client[0]
    if status:
        span.attributes["http.response.status_code"] = status
    if status >= _FAILURE:
        span.failed = True
        span.attributes["error.type"] = str(status)
