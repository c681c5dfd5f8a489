"""Spans as OTLP's messages, sent by the SDK's exporters: over gRPC or over HTTP.

Invariant: the only file that knows OpenTelemetry; importing it costs what the SDK costs. Encoding
is ours, for the thread that does it takes the interpreter from the event loop, and by way of the
SDK's spans it takes thrice as long. The exporters keep what they are for: connections, the
standard's variables, another try. They complain to the standard library's logging at each attempt;
from the first export on that goes nowhere but here, and what a batch brought up first is the reason
of one warning (``export``). Used in the exporting thread, through ``endpoint``. Source: OTLP 1.
"""

import logging
from collections.abc import Mapping, Sequence
from os import getpid
from socket import gethostname
from typing import Any, Final, Protocol

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as pb
from opentelemetry.sdk.resources import Resource as Detected
from opentelemetry.sdk.trace.export import SpanExportResult

from paceline.trace.context import SpanContext
from paceline.trace.spans import ERROR_TYPE, Span, SpanKind, Value

_TIMEOUT: Final = 5
_LOGGER: Final = "opentelemetry"
_KINDS: Final = {kind: pb.Span.SpanKind.Value(f"SPAN_KIND_{kind.name}") for kind in SpanKind}
_SCOPE: Final = InstrumentationScope(name="paceline")
_KNOWS_REMOTE: Final = pb.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE: Final = pb.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK


class OtlpSender:
    """Implements ``export.Sender``. ``target``: "host:port" with ``grpc``, else a URL.

    *Resources*: a connection, until `close`.
    """

    def __init__(
        self, target: str, *, grpc: bool, secure: bool, service: str, version: str
    ) -> None:
        self._closed = False
        self._complaints = _Complaints()
        detected = Detected.create({
            "service.name": service,
            "service.version": version,
            "host.name": gethostname(),
            "process.pid": getpid(),
        })  # fmt: skip
        self._resource = Resource(attributes=_attributes(detected.attributes))
        self._exporter: _Exporter = (
            _Grpc(endpoint=target, insecure=not secure, timeout=_TIMEOUT)
            if grpc
            else _Http(endpoint=target, timeout=_TIMEOUT)
        )
        self._complaints.hear()

    def send(self, spans: Sequence[Span]) -> str:
        """Send them; why not, if not."""
        self._complaints.first = ""
        try:
            result = self._exporter.carry(self._encoded(spans))
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

    def _encoded(self, spans: Sequence[Span]) -> ExportTraceServiceRequest:
        scope = pb.ScopeSpans(scope=_SCOPE, spans=[_encoded(span) for span in spans])
        of_us = pb.ResourceSpans(resource=self._resource, scope_spans=[scope])
        return ExportTraceServiceRequest(resource_spans=[of_us])


class _Exporter(Protocol):
    """What takes messages away."""

    def carry(self, request: ExportTraceServiceRequest, /) -> SpanExportResult:
        """Send one."""
        ...

    def shutdown(self) -> None:
        """Close the connection."""
        ...


class _Grpc(GrpcExporter):
    """Sends what is encoded already."""

    def carry(self, request: ExportTraceServiceRequest) -> SpanExportResult:
        """Send it."""
        data: Any = request  # it goes to `_translate_data`, unseen
        return self._export(data)

    def _translate_data(self, data: Any) -> ExportTraceServiceRequest:
        request: ExportTraceServiceRequest = data
        return request

    def _count_data(self, data: Any) -> int:
        return len(data.resource_spans[0].scope_spans[0].spans)


class _Http(HttpExporter):
    """Sends what is encoded already."""

    def carry(self, request: ExportTraceServiceRequest) -> SpanExportResult:
        """Send it."""
        sent = self._client.export(request.SerializeToString())
        return SpanExportResult.SUCCESS if sent.success else SpanExportResult.FAILURE


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


def _encoded(span: Span) -> pb.Span:
    return pb.Span(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=b"" if span.parent_id is None else bytes.fromhex(span.parent_id),
        trace_state=span.state,
        flags=span.flags | _KNOWS_REMOTE | (_REMOTE if span.remote else 0),
        name=span.name,
        kind=_KINDS[span.kind],
        start_time_unix_nano=span.started_at,
        end_time_unix_nano=span.ended_at,
        attributes=_attributes(span.attributes),
        links=[_link(other) for other in span.links],
        status=_failure(span) if span.failed else None,
    )


def _link(other: SpanContext) -> pb.Span.Link:
    return pb.Span.Link(
        trace_id=bytes.fromhex(other.trace_id), span_id=bytes.fromhex(other.span_id),
        trace_state=other.state, flags=other.flags | _KNOWS_REMOTE,
    )  # fmt: skip


def _failure(span: Span) -> pb.Status:
    reason = str(span.attributes.get(ERROR_TYPE, ""))
    return pb.Status(code=pb.Status.STATUS_CODE_ERROR, message=reason)


def _attributes(values: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in values.items()]


def _value(value: Value) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return AnyValue(double_value=value)
