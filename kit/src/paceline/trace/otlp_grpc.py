"""OTLP over gRPC, for messages that are encoded already. Source: OTLP 1, OTLP/gRPC.

By the SDK's exporter, which brings grpcio: nothing else here needs it, so it has its own extra.
"""

from typing import Any

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SpanExportResult


class GrpcExporter(OTLPSpanExporter):
    """Implements `paceline.trace.otlp.EncodedExporter`."""

    def export_encoded(self, request: bytes, /) -> SpanExportResult:
        """Send one message."""
        data: Any = ExportTraceServiceRequest.FromString(request)  # for `_translate_data`
        return self._export(data)

    def _translate_data(self, data: Any) -> ExportTraceServiceRequest:
        request: ExportTraceServiceRequest = data
        return request

    def _count_data(self, data: Any) -> int:
        return len(data.resource_spans[0].scope_spans[0].spans)
