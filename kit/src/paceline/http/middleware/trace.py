"""Trace: each request has a place in a trace, its caller's or a new one, and a span if sampled.

The ids are ambient (``paceline.trace``), go on with what the request sends, and stand in its log
lines, ``span_id`` only where there is such a span. The span is named by the route that was met,
never by the path, and fails with a status of 500 or more. Probes in ``quiet`` have no trace at all.
Names are OpenTelemetry's semantic conventions for HTTP servers. Around the access log, so that its
line is found by the trace.
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
from paceline.http.tracking import track
from paceline.log import pop_fields, push_fields
from paceline.trace import Span, SpanKind, Tracer, attach, detach

_FAILURE: Final = 500
_SERVER: Final = SpanKind.SERVER  # looking a member up runs Python code, before 3.12


def trace(tracer: Tracer, *, quiet: Collection[str] = ()) -> Middleware:
    """Give each request its place in a trace. ``quiet``: paths without one."""
    hushed = frozenset(quiet)

    def wrap(app: ASGIApp) -> ASGIApp:
        def traced(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            if scope["path"] in hushed:
                return app(scope, receive, send)
            return within(scope, receive, send)

        async def within(scope: Scope, receive: Receive, send: Send) -> None:
            headers = headers_of(scope)
            if b"traceparent" in headers:
                context = tracer.enter("", _SERVER, *_received(scope, headers))
            else:
                context = tracer.enter("", _SERVER)
            token, logged = attach(context), push_fields(context.ids())
            try:
                if isinstance(context, Span):
                    await _record(context, app, scope, receive, send)
                else:
                    await app(scope, receive, send)
            finally:
                pop_fields(logged)
                detach(token)

        return traced

    return wrap


def _received(scope: Scope, headers: Mapping[bytes, bytes]) -> tuple[str | None, str]:
    """The two headers; none when there are several of the first, as the standard asks."""
    state = headers.get(b"tracestate", b"")
    if len(headers) != len(scope["headers"]):  # one came twice, whichever it was
        if len(header_list(scope, b"traceparent")) > 1:
            return None, ""
        state = b",".join(header_list(scope, b"tracestate"))
    return headers[b"traceparent"].decode("latin-1"), state.decode("latin-1")


async def _record(span: Span, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    tracked, send = track(scope, send)
    try:
        await app(scope, receive, send)
    except BaseException as exc:
        span.fail(exc)
        raise
    finally:
        _describe(span, scope, tracked.status)
        span.end()


def _describe(span: Span, scope: Scope, status: int) -> None:
    known = known_method(scope["method"])
    route = route_of(scope)
    span.name = f"{known} {route}" if route else known
    client: tuple[str, int] | None = scope.get("client")
    span.attributes |= {
        "http.request.method": known,
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
