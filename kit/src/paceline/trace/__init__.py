"""Traces: W3C context in and out, spans of what is sampled, OTLP, and nearly no cost otherwise.

A `Tracer` decides at each edge (a request, a call, a message) whether what begins is recorded; the
place in the trace is ambient from there on. `current` gives it, with ``trace_id`` and ``span_id``
as the hexadecimal text that logs and exemplars want, or None; `outgoing` gives the headers for
another process; `span` surrounds a piece of work, and does nothing where nothing is recorded.
`TraceExport` sends ended spans from a thread. OpenTelemetry's SDK is imported when an export
starts, and only then. Read ``context``, ``span``, ``ambient``, ``tracer``; then ``trips`` for work
that many share, ``export`` and ``otlp``.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.trace.ambient import attach, carried, current, detach, outgoing, recording, span
    from paceline.trace.batch_spans import BatchSpans, joined
    from paceline.trace.context import TRACEPARENT, TRACESTATE, SpanContext, is_sampled
    from paceline.trace.endpoint import OTLP_ENDPOINT, parse_endpoint, sender_to
    from paceline.trace.export import TraceExport
    from paceline.trace.spans import Span, SpanKind
    from paceline.trace.tracer import Tracer
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "BatchSpans": "batch_spans",
            "OTLP_ENDPOINT": "endpoint",
            "Span": "spans",
            "SpanContext": "context",
            "SpanKind": "spans",
            "TRACEPARENT": "context",
            "TRACESTATE": "context",
            "TraceExport": "export",
            "Tracer": "tracer",
            "attach": "ambient",
            "carried": "ambient",
            "current": "ambient",
            "detach": "ambient",
            "is_sampled": "context",
            "joined": "batch_spans",
            "outgoing": "ambient",
            "parse_endpoint": "endpoint",
            "recording": "ambient",
            "sender_to": "endpoint",
            "span": "ambient",
        },
    )

__all__ = [
    "OTLP_ENDPOINT",
    "TRACEPARENT",
    "TRACESTATE",
    "BatchSpans",
    "Span",
    "SpanContext",
    "SpanKind",
    "TraceExport",
    "Tracer",
    "attach",
    "carried",
    "current",
    "detach",
    "is_sampled",
    "joined",
    "outgoing",
    "parse_endpoint",
    "recording",
    "sender_to",
    "span",
]
