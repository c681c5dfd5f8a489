"""A receiver of OTLP, over gRPC and over HTTP, that keeps the spans it receives.

The messages are the specification's own (``opentelemetry-proto``), so it reads what a collector
would read.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

PATIENCE = 20.0
_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


@dataclass(frozen=True)
class Received:
    """A received span; ``links``: ids of spans; ``parent``: "" for a root."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    started_at: int
    ended_at: int
    attributes: dict[str, object]
    links: list[str]
    failed: bool
    state: str


@dataclass
class Receiver:
    """``address``: where to send spans, in the form of the setting."""

    address: str = ""
    spans: list[Received] = field(default_factory=list[Received])
    requests: int = 0

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Keep the spans of a request."""
        self.requests += 1
        for resource in request.resource_spans:
            service = str(_values(resource.resource.attributes)["service.name"])
            for scope in resource.scope_spans:
                self.spans += [_received(service, span) for span in scope.spans]

    def until(self, condition: Callable[[list[Received]], bool]) -> list[Received]:
        """Wait until the condition is true of the spans; returns them."""
        give_up = time.monotonic() + PATIENCE
        while not condition(self.spans):
            assert time.monotonic() < give_up, [span.name for span in self.spans]
            time.sleep(0.02)
        return self.spans


@contextmanager
def grpc_receiver() -> Generator[Receiver]:
    """Listens on a free port."""
    receiver = Receiver()

    def export(request: ExportTraceServiceRequest, context: Any) -> ExportTraceServiceResponse:
        receiver.take(request)
        return ExportTraceServiceResponse()

    method = grpc.unary_unary_rpc_method_handler(
        export,
        request_deserializer=ExportTraceServiceRequest.FromString,
        response_serializer=ExportTraceServiceResponse.SerializeToString,
    )
    handlers = grpc.method_handlers_generic_handler(_SERVICE, {"Export": method})
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((handlers,))
    receiver.address = f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield receiver
    finally:
        server.stop(None).wait()


@contextmanager
def http_receiver() -> Generator[Receiver]:
    """Listens on a free port."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found = self.path == "/v1/traces"
            if found:
                receiver.take(ExportTraceServiceRequest.FromString(body))
            self.send_response(200 if found else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _received(service: str, span: Span) -> Received:
    return Received(
        service,
        span.name,
        Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _values(span.attributes),
        [link.span_id.hex() for link in span.links],
        span.status.code == Status.STATUS_CODE_ERROR,
        span.trace_state,
    )


def _values(attributes: Iterable[Any]) -> dict[str, object]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
