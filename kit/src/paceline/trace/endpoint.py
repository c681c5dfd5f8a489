"""The address of an OTLP collector: ``grpc://host:4317`` or ``http://host:4318``.

The scheme selects which of OTLP's two protocols is used, so there is one setting and no default to
guess; ``grpcs`` and ``https`` are the same over TLS. A path is the base of ``/v1/traces``. Headers,
certificates and compression are the exporters' own settings, read from the standard's
``OTEL_EXPORTER_OTLP_*`` variables. Invariant: the SDK is not imported before an export starts.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from paceline._lazy import require
from paceline.trace.export import SpanSender

if TYPE_CHECKING:
    from paceline.trace.otlp import EncodedExporter

OTLP_ENDPOINT_FORMAT: Final = (
    'an address like "grpc://host:4317" or "http://host:4318", with an "s" for TLS'
)
_GRPC_PORT: Final = 4317
_HTTP_PORT: Final = 4318
_PATH: Final = "/v1/traces"


class OtlpTarget(NamedTuple):
    """Where to send; ``target``: a URL for HTTP, "host:port" for gRPC."""

    grpc: bool
    secure: bool
    target: str


def parse_otlp_endpoint(text: str) -> OtlpTarget:
    """Parse an address. Errors: ValueError, whose text says what is expected."""
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError as exc:
        raise ValueError(OTLP_ENDPOINT_FORMAT) from exc
    if url.scheme not in {"grpc", "grpcs", "http", "https"} or not host or url.query:
        raise ValueError(OTLP_ENDPOINT_FORMAT)
    secure = url.scheme.endswith("s")
    if url.username is not None:
        raise ValueError(
            f"{OTLP_ENDPOINT_FORMAT}; credentials belong into OTEL_EXPORTER_OTLP_HEADERS"
        )
    host = f"[{host}]" if ":" in host else host
    if url.scheme.startswith("grpc"):
        if url.path not in {"", "/"}:
            raise ValueError(OTLP_ENDPOINT_FORMAT)
        return OtlpTarget(True, secure, f"{host}:{port or _GRPC_PORT}")
    if port == _GRPC_PORT:  # a collector speaks gRPC there; its answer would not explain that
        raise ValueError(f'"grpc://{host}:{port}": {port} is the port of OTLP over gRPC')
    # A base address, as of OTEL_EXPORTER_OTLP_ENDPOINT: the signal's path is appended.
    path = url.path.rstrip("/").removesuffix(_PATH) + _PATH
    return OtlpTarget(False, secure, f"{url.scheme}://{host}:{port or _HTTP_PORT}{path}")


def otlp_sender(address: str, *, service: str, version: str) -> Callable[[], SpanSender]:
    """How to connect to the collector at ``address``, for `TraceExport`.

    ``service`` and ``version`` identify this process in the trace store. Errors: as for
    `parse_otlp_endpoint`; ImportError without the extra ``otel``, and for ``grpc`` and ``grpcs``
    without ``otel-grpc``.
    """
    endpoint = parse_otlp_endpoint(address)
    protocol, extra = ("grpc", "otel-grpc") if endpoint.grpc else ("http", "otel")
    require(
        f"opentelemetry.exporter.otlp.proto.{protocol}",
        room=f"OTLP over {protocol}",
        extra=extra,
        distribution=f"opentelemetry-exporter-otlp-proto-{protocol}",
    )

    def connect() -> SpanSender:
        # Half a second of imports.
        from paceline.trace.otlp import OtlpSender  # noqa: PLC0415

        return OtlpSender(_exporter(endpoint), service=service, version=version)

    return connect


def _exporter(endpoint: OtlpTarget) -> "EncodedExporter":
    from paceline.trace.otlp import TIMEOUT  # noqa: PLC0415 - as above

    if endpoint.grpc:
        from paceline.trace.otlp_grpc import GrpcExporter  # noqa: PLC0415

        return GrpcExporter(endpoint=endpoint.target, insecure=not endpoint.secure, timeout=TIMEOUT)
    from paceline.trace.otlp_http import HttpExporter  # noqa: PLC0415

    return HttpExporter(endpoint=endpoint.target, timeout=TIMEOUT)
