"""Spans as OTLP messages, sent by one of the OpenTelemetry SDK's exporters.

Invariant: importing this, or an exporter's file, costs what the SDK costs, so nobody does before an
export starts. The encoding is our own (``otlp_encoding``). The exporters do the rest:
connections, the standard's variables, retries. They log each failed attempt with the standard
library's logging; from the first export on those records are captured here, and the first one of a
batch is the reason in our own warning. Source: OTLP 1.
"""

import logging
from collections.abc import Sequence
from os import getpid
from socket import gethostname
from typing import Final, Protocol

from opentelemetry.sdk.resources import Resource as Detected
from opentelemetry.sdk.trace.export import SpanExportResult

from paceline.trace.otlp_encoding import attributes_of, encode_spans
from paceline.trace.spans import Span

TIMEOUT: Final = 5
"""Seconds that an exporter takes for one message, with all its attempts."""
_LOGGER: Final = "opentelemetry"
_ATTRIBUTE: Final = b"\x0a"  # of a Resource: field 1


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
        plain = {
            name: value
            for name, value in detected.attributes.items()
            if isinstance(value, str | int | float)
        }
        self._resource = b"".join(attributes_of(plain, tag=_ATTRIBUTE))
        self._exporter = exporter
        self._warnings.capture()

    def send(self, spans: Sequence[Span]) -> str:
        """Send them. Returns why they are lost, "" if they are not."""
        self._warnings.first = ""
        try:
            result = self._exporter.export_encoded(encode_spans(spans, self._resource))
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


class EncodedExporter(Protocol):
    """One of the SDK's exporters, for messages that are encoded already."""

    def export_encoded(self, request: bytes, /) -> SpanExportResult:
        """Send one ``ExportTraceServiceRequest``."""
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
