"""What traces need: the tracer of both doors and the queue, the trips' observer, the way out.

Without `Config.otel_endpoint` nothing is recorded and nothing of this costs anything but the ids,
which go through and stand in the logs all the same. Built by ``main``, which starts the services
before everything that has spans, so that they stop, and flush, after it. Next: ``paceline.trace``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from myservice import __version__
from myservice.config import Config
from paceline.coalesce import Observer
from paceline.lifecycle import Service
from paceline.log import Logger
from paceline.trace import BatchSpans, TraceExport, Tracer, otlp_sender


@dataclass(frozen=True, slots=True)
class Traces:
    """``observer``: of every coalescer; None when nothing is recorded."""

    tracer: Tracer
    observer: Observer | None
    export: TraceExport | None

    @property
    def services(self) -> Sequence[Service]:
        """What to start, before everything that has spans."""
        return [] if self.export is None else [self.export]


def traces_of(config: Config, log: Logger, *, service: str) -> Traces:
    """As configured; ``service`` is what a trace store calls this process."""
    if config.otel_endpoint is None:
        return Traces(Tracer(ratio=config.trace_ratio), None, None)
    connect = otlp_sender(config.otel_endpoint, service=service, version=__version__)
    export = TraceExport(connect, log)
    return Traces(Tracer(export.record, ratio=config.trace_ratio), BatchSpans(), export)
