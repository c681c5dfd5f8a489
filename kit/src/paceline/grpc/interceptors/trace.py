"""Trace: each call has a place in a trace, its caller's or a new one, and a span if sampled.

As for HTTP requests, the ids are ambient, in the log lines, and go on with what the call sends. A
stream's span lasts as long as the stream. Names are OpenTelemetry's semantic conventions for RPC;
codes that are the client's own fault do not fail the span. Around `access_log`, inside
`request_id`.
"""

from collections.abc import Collection
from typing import Final

from paceline.errors import Code
from paceline.grpc.call import Call, Endpoint, Interceptor, Method
from paceline.log import pop_fields, push_fields
from paceline.trace import Span, SpanKind, Tracer, attach, detach

_SERVER: Final = SpanKind.SERVER  # before Python 3.12 looking a member up runs Python code
_FAILURES: Final = frozenset({
    Code.UNKNOWN, Code.DEADLINE_EXCEEDED, Code.UNIMPLEMENTED, Code.INTERNAL, Code.UNAVAILABLE,
    Code.DATA_LOSS,
})  # fmt: skip


def trace(tracer: Tracer, *, skip_paths: Collection[str] = ()) -> Interceptor:
    """Give each call its place in a trace. ``skip_paths``: methods without one (probes)."""
    skipped = frozenset(skip_paths)

    def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
        if method.path in skipped:
            return endpoint
        name = method.path.removeprefix("/")

        async def traced(call: Call) -> bytes | None:
            parent, state = call.header(b"traceparent"), call.header(b"tracestate")
            context = tracer.enter(
                name,
                _SERVER,
                None if parent is None else parent.decode("latin-1"),
                "" if state is None else state.decode("latin-1"),
            )
            place, fields = attach(context), push_fields(context.ids())
            try:
                if isinstance(context, Span):
                    return await _record(context, endpoint, call)
                return await endpoint(call)
            finally:
                pop_fields(fields)
                detach(place)

        return traced

    return wrap


async def _record(span: Span, endpoint: Endpoint, call: Call) -> bytes | None:
    span.attributes |= {"rpc.system.name": "grpc", "rpc.method": span.name}
    try:
        reply = await endpoint(call)
    except BaseException as exc:
        span.fail(exc)
        raise
    else:
        code = call.outcome
        span.attributes["rpc.response.status_code"] = code.name
        if code in _FAILURES:
            span.failed = True
            span.attributes["error.type"] = code.name
        return reply
    finally:
        span.attributes["client.address"] = call.client
        span.end()
