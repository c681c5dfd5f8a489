"""Spans as the SDK's, sent by the SDK's exporters: OTLP over gRPC or over HTTP.

Invariant: the only file that knows OpenTelemetry; importing it costs what the SDK costs. The
exporters complain to the standard library's logging at every attempt; from the first export on that
goes nowhere but here, and what a batch brought up first is the reason of one warning (``export``).
Used in the exporting thread, through ``endpoint``.
"""

import logging
from collections.abc import Sequence
from os import getpid
from socket import gethostname
from typing import Final

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.trace import SpanContext as OtelContext

from paceline.trace.context import SpanContext
from paceline.trace.span import ERROR_TYPE, Kind, Span

_TIMEOUT: Final = 5
_LOGGER: Final = "opentelemetry"
_KINDS: Final = {kind: SpanKind[kind.name] for kind in Kind}
_SCOPE: Final = InstrumentationScope("paceline")
_NO_STATE: Final = TraceState()
_UNSET: Final = Status()


class OtlpSender:
    """Implements ``export.Sender``. ``target``: "host:port" with ``grpc``, else a URL.

    *Resources*: a connection, until `close`.
    """

    def __init__(
        self, target: str, *, grpc: bool, secure: bool, service: str, version: str
    ) -> None:
        self._closed = False
        self._complaints = _Complaints()
        self._resource = Resource.create({
            "service.name": service,
            "service.version": version,
            "host.name": gethostname(),
            "process.pid": getpid(),
        })  # fmt: skip
        self._exporter: SpanExporter = (
            GrpcExporter(endpoint=target, insecure=not secure, timeout=_TIMEOUT)
            if grpc
            else HttpExporter(endpoint=target, timeout=_TIMEOUT)
        )
        self._complaints.hear()

    def send(self, spans: Sequence[Span]) -> str:
        """Send them; why not, if not."""
        self._complaints.first = ""
        try:
            result = self._exporter.export([self._readable(span) for span in spans])
        except Exception as exc:  # noqa: BLE001 - whatever a library raises, these spans are lost
            return f"{type(exc).__qualname__}: {exc}"
        if result is SpanExportResult.SUCCESS:
            return ""
        return self._complaints.first or "the exporter does not say why"

    def close(self) -> None:
        """Close the connection."""
        if not self._closed:
            self._closed = True
            self._exporter.shutdown()

    def _readable(self, span: Span) -> ReadableSpan:
        error = str(span.attributes.get(ERROR_TYPE, ""))
        return ReadableSpan(
            span.name,
            context=_converted(span),
            parent=_parent_of(span),
            resource=self._resource,
            attributes=span.attributes,
            links=[Link(_converted(other)) for other in span.links],
            kind=_KINDS[span.kind],
            status=Status(StatusCode.ERROR, error) if span.failed else _UNSET,
            start_time=span.started_at,
            end_time=span.ended_at,
            instrumentation_scope=_SCOPE,
        )


class _Complaints(logging.Handler):
    """Keeps what the SDK says, from everybody else."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first = ""

    def hear(self) -> None:
        """Stand between the SDK's loggers and all others."""
        logger = logging.getLogger(_LOGGER)
        logger.handlers[:] = [self]
        logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it, if it is the first of a batch."""
        self.first = self.first or record.getMessage()


def _converted(context: SpanContext, *, remote: bool = False) -> OtelContext:
    return OtelContext(
        int(context.trace_id, 16),
        int(context.span_id, 16),
        remote,
        TraceFlags(context.flags),
        TraceState.from_header([context.state]) if context.state else _NO_STATE,
    )


def _parent_of(span: Span) -> OtelContext | None:
    if span.parent_id is None:
        return None
    parent = SpanContext(span.trace_id, span.parent_id, span.flags, span.state)
    return _converted(parent, remote=span.remote)
