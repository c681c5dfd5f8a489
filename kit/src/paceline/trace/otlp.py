"""Spans as OTLP messages, sent by one of the OpenTelemetry SDK's exporters.

Invariant: importing this, or an exporter's file, costs what the SDK costs, so nobody does before an
export starts. The encoding is our own: while it runs, its thread keeps the interpreter from the
event loop, and by way of the SDK's spans it takes three times as long. The exporters do the rest:
connections, the standard's variables, retries. They log each failed attempt with the standard
library's logging; from the first export on those records are captured here, and the first one of a
batch is the reason in our own warning. Source: OTLP 1.
"""

import logging
from collections.abc import Mapping, Sequence
from os import getpid
from socket import gethostname
from typing import Any, Final, Protocol

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as pb
from opentelemetry.sdk.resources import Resource as Detected
from opentelemetry.sdk.trace.export import SpanExportResult

from paceline.trace.context import SpanContext
from paceline.trace.spans import ERROR_TYPE, AttributeValue, Span, SpanKind

TIMEOUT: Final = 5
"""Seconds that an exporter takes for one message, with all its attempts."""
_LOGGER: Final = "opentelemetry"
_KINDS: Final = {kind: pb.Span.SpanKind.Value(f"SPAN_KIND_{kind.name}") for kind in SpanKind}
_SCOPE: Final = InstrumentationScope(name="paceline")
_HAS_REMOTE: Final = pb.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE: Final = pb.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK


class OtlpSender:
    """Implements `SpanSender`.

    *Resources*: the exporter's connection, until `close`.
    """

    def __init__(self, exporter: "EncodedExporter", *, service: str, version: str) -> None:
        self._closed = False
        self._warnings = _CapturedWarnings()
        detected = Detected.create({
            "service.name": service,
            "service.version": version,
            "host.name": gethostname(),
            "process.pid": getpid(),
        })  # fmt: skip
        self._resource = Resource(attributes=_attributes(detected.attributes))
        self._exporter = exporter
        self._warnings.capture()

    def send(self, spans: Sequence[Span]) -> str:
        """Send them. Returns why they are lost, "" if they are not."""
        self._warnings.first = ""
        try:
            result = self._exporter.export_encoded(self._encoded(spans))
        except Exception as exc:  # noqa: BLE001 - whatever a library raises, these spans are lost
            return f"{type(exc).__qualname__}: {exc}"
        if result is SpanExportResult.SUCCESS:
            return ""
        return self._warnings.first or "the exporter gave no reason"

    def close(self) -> None:
        """Close the connection."""
        if not self._closed:
            self._closed = True
            self._exporter.shutdown()

    def _encoded(self, spans: Sequence[Span]) -> ExportTraceServiceRequest:
        scope = pb.ScopeSpans(scope=_SCOPE, spans=[_encoded(span) for span in spans])
        ours = pb.ResourceSpans(resource=self._resource, scope_spans=[scope])
        return ExportTraceServiceRequest(resource_spans=[ours])


class EncodedExporter(Protocol):
    """One of the SDK's exporters, for messages that are encoded already."""

    def export_encoded(self, request: ExportTraceServiceRequest, /) -> SpanExportResult:
        """Send one message."""
        ...

    def shutdown(self) -> None:
        """Close the connection."""
        ...


class _CapturedWarnings(logging.Handler):
    """Keeps the ``first`` warning that the SDK logs, and hides all from other handlers."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first = ""

    def capture(self) -> None:
        """Become the only handler of the SDK's loggers."""
        logger = logging.getLogger(_LOGGER)
        logger.handlers[:] = [self]
        logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record's text, if it is the first of a batch."""
        self.first = self.first or record.getMessage()


def _encoded(span: Span) -> pb.Span:
    return pb.Span(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=b"" if span.parent_id is None else bytes.fromhex(span.parent_id),
        trace_state=span.state,
        flags=span.flags | _HAS_REMOTE | (_REMOTE if span.remote else 0),
        name=span.name,
        kind=_KINDS[span.kind],
        start_time_unix_nano=span.started_at,
        end_time_unix_nano=span.ended_at,
        attributes=_attributes(span.attributes),
        links=[_link(other) for other in span.links],
        status=_error_status(span) if span.failed else None,
    )


def _link(other: SpanContext) -> pb.Span.Link:
    return pb.Span.Link(
        trace_id=bytes.fromhex(other.trace_id), span_id=bytes.fromhex(other.span_id),
        trace_state=other.state, flags=other.flags | _HAS_REMOTE,
    )  # fmt: skip


def _error_status(span: Span) -> pb.Status:
    reason = str(span.attributes.get(ERROR_TYPE, ""))
    return pb.Status(code=pb.Status.STATUS_CODE_ERROR, message=reason)


def _attributes(values: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in values.items()]


def _value(value: AttributeValue) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return AnyValue(double_value=value)
