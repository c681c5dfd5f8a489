"""Traces: W3C context in and out, spans of what is sampled, OTLP, and almost no cost otherwise.

A `Tracer` decides at each entry to the process (a request, a call, a message) whether the work is
recorded; from there on the current span context is ambient. `current_context` returns it, with
``trace_id`` and ``span_id`` as the hexadecimal text that logs and exemplars need, or None;
`propagation_headers` returns the headers for another process; `span` surrounds a piece of work, and
does nothing where nothing is recorded. `TraceExport` sends ended spans from a thread, which needs
the extra ``paceline[otel]``; the OpenTelemetry SDK is imported when an export starts, and not
before.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.trace.ambient import (
        attach,
        current_context,
        detach,
        in_current_trace,
        propagation_headers,
        recording_span,
        span,
    )
    from paceline.trace.batch_spans import BatchSpans, shared_parent
    from paceline.trace.context import TRACEPARENT, TRACESTATE, SpanContext, is_sampled
    from paceline.trace.endpoint import OTLP_ENDPOINT_FORMAT, otlp_sender, parse_otlp_endpoint
    from paceline.trace.export import ExportStats, SpanSender, TraceExport
    from paceline.trace.spans import AttributeValue, Span, SpanKind
    from paceline.trace.tracer import Tracer, TracerStats
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "AttributeValue": "spans",
            "BatchSpans": "batch_spans",
            "ExportStats": "export",
            "OTLP_ENDPOINT_FORMAT": "endpoint",
            "Span": "spans",
            "SpanContext": "context",
            "SpanKind": "spans",
            "SpanSender": "export",
            "TRACEPARENT": "context",
            "TRACESTATE": "context",
            "TraceExport": "export",
            "Tracer": "tracer",
            "TracerStats": "tracer",
            "attach": "ambient",
            "current_context": "ambient",
            "detach": "ambient",
            "in_current_trace": "ambient",
            "is_sampled": "context",
            "otlp_sender": "endpoint",
            "parse_otlp_endpoint": "endpoint",
            "propagation_headers": "ambient",
            "recording_span": "ambient",
            "shared_parent": "batch_spans",
            "span": "ambient",
        },
    )

__all__ = [
    "OTLP_ENDPOINT_FORMAT",
    "TRACEPARENT",
    "TRACESTATE",
    "AttributeValue",
    "BatchSpans",
    "ExportStats",
    "Span",
    "SpanContext",
    "SpanKind",
    "SpanSender",
    "TraceExport",
    "Tracer",
    "TracerStats",
    "attach",
    "current_context",
    "detach",
    "in_current_trace",
    "is_sampled",
    "otlp_sender",
    "parse_otlp_endpoint",
    "propagation_headers",
    "recording_span",
    "shared_parent",
    "span",
]
