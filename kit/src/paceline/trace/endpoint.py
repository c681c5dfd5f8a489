"""Where spans go: ``grpc://host:4317`` or ``http://host:4318``, read and explained.

The scheme says which of OTLP's two protocols is spoken, so there is one setting and no default to
guess; ``grpcs`` and ``https`` are the same over TLS. What else the exporters know (headers,
certificates, compression) they read themselves from the standard's ``OTEL_EXPORTER_OTLP_*``.
Invariant: no SDK is imported before somebody really sends. Used by configurations, to refuse a
wrong address at once, and by ``main``.
"""

from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from paceline._lazy import require
from paceline.trace.export import Sender

OTLP_ENDPOINT: Final = (
    'an address like "grpc://host:4317" or "http://host:4318", with an "s" for TLS'
)
_GRPC_PORT: Final = 4317
_HTTP_PORT: Final = 4318
_PATH: Final = "/v1/traces"


class Endpoint(NamedTuple):
    """``target``: an URL for HTTP, "host:port" for gRPC."""

    grpc: bool
    secure: bool
    target: str


def parse_endpoint(text: str) -> Endpoint:
    """Read it. Errors: ValueError that says what is expected instead."""
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError as exc:
        raise ValueError(OTLP_ENDPOINT) from exc
    if url.scheme not in {"grpc", "grpcs", "http", "https"} or not host or url.query:
        raise ValueError(OTLP_ENDPOINT)
    secure = url.scheme.endswith("s")
    if url.username is not None:
        raise ValueError(f"{OTLP_ENDPOINT}; what is secret belongs into OTEL_EXPORTER_OTLP_HEADERS")
    host = f"[{host}]" if ":" in host else host
    if url.scheme.startswith("grpc"):
        if url.path not in {"", "/"}:
            raise ValueError(OTLP_ENDPOINT)
        return Endpoint(True, secure, f"{host}:{port or _GRPC_PORT}")
    if port == _GRPC_PORT:  # a collector speaks gRPC there, and would answer with a riddle
        raise ValueError(f'"grpc://{host}:{port}": {port} is the port of OTLP over gRPC')
    path = _PATH if url.path in {"", "/"} else url.path
    return Endpoint(False, secure, f"{url.scheme}://{host}:{port or _HTTP_PORT}{path}")


def sender_to(address: str, *, service: str, version: str) -> Callable[[], Sender]:
    """What connects to ``address``, for `TraceExport`; ``service`` is whose spans they are.

    Errors: as for `parse_endpoint`; ImportError without the extra ``otel``.
    """
    endpoint = parse_endpoint(address)
    require("opentelemetry.exporter.otlp.proto", room="paceline.trace", extra="otel")

    def connect() -> Sender:
        from paceline.trace.otlp import OtlpSender  # noqa: PLC0415 - half a second of imports

        return OtlpSender(endpoint.target, grpc=endpoint.grpc, secure=endpoint.secure,
                          service=service, version=version)  # fmt: skip

    return connect
