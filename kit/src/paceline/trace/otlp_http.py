"""OTLP over HTTP, for messages that are encoded already. Source: OTLP 1, OTLP/HTTP."""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExportResult


class HttpExporter(OTLPSpanExporter):
    """Implements `paceline.trace.otlp.EncodedExporter`."""

    def export_encoded(self, request: bytes, /) -> SpanExportResult:
        """Send one message."""
        sent = self._client.export(request)
        return SpanExportResult.SUCCESS if sent.success else SpanExportResult.FAILURE
