"""OpenTelemetry and Prometheus as the Python peers' own documentation sets them up.

With TELEMETRY, an OTLP endpoint, `instrumented` wraps the application: a server span, sampled as
the service's are, and a histogram by route; `queried` is the span of a query. Without it, nothing.
"""

import os
import time
from contextlib import nullcontext

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from prometheus_client import CollectorRegistry, Histogram

ENDPOINT = os.environ.get("TELEMETRY", "")


def instrumented(app, name):
    """The application under its telemetry."""
    if not ENDPOINT:
        return app
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(0.1)),
        resource=Resource.create({"service.name": name}),
    )
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{ENDPOINT}/v1/traces"))
    )
    trace.set_tracer_provider(provider)
    return OpenTelemetryMiddleware(Timed(app), exclude_spans=["receive", "send"])


class Timed:
    """ASGI middleware: a histogram by method, route and status."""

    def __init__(self, app):
        self.app = app
        self.durations = Histogram(
            "http_server_request_duration_seconds", "Duration of requests.",
            ["method", "route", "status"], registry=CollectorRegistry(),
        )  # fmt: skip

    async def __call__(self, scope, receive, send):
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noting(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", "")
            self.durations.labels(scope["method"], route, str(status)).observe(
                time.perf_counter() - started
            )


def queried(statement):
    """The span of a query, for ``with``."""
    if not ENDPOINT:
        return nullcontext()
    return trace.get_tracer("peer").start_as_current_span(
        "query", kind=trace.SpanKind.CLIENT, attributes={"db.query.text": statement}
    )
