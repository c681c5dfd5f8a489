"""A span that is recorded: a name, two times, attributes, links to spans of other traces.

Rejected: the SDK's own spans, whose locks, limits and checks cost several times as much as what
they record; these become OTLP's messages when they are exported (``otlp``), by another thread.
Invariant: a span is given away once, when it ends, and never changed after that, so no lock is
needed. Attributes hold names, counts and codes, never values of requests, rows or messages. Made by
``tracer`` at the edges, and below them by ``ambient``.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from random import getrandbits
from time import time_ns
from typing import Final, TypeAlias

from paceline.errors import Error
from paceline.trace.context import SpanContext

Value: TypeAlias = str | int | float | bool
ERROR_TYPE: Final = "error.type"


class SpanKind(Enum):
    """Which side of a call a span is; named as in OpenTelemetry."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class Span(SpanContext):
    """One span, from its making to `end`. Times are nanoseconds since the Unix epoch.

    ``parent_id``: None for the root of a trace. ``failed``: whether it counts as an error.
    """

    __slots__ = (
        "_sink", "attributes", "ended_at", "failed", "kind", "links", "name", "parent_id", "remote",
        "started_at",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        kind: SpanKind,
        parent: SpanContext,
        sink: "Callable[[Span], None]",
        *,
        root: bool = False,
    ) -> None:
        """``root``: ``parent`` is this span's own ids, for there is none before it."""
        span_id = parent.span_id if root else new_span_id()
        super().__init__(parent.trace_id, span_id, parent.flags, parent.state)
        self.name: str = name
        self.kind: SpanKind = kind
        self.parent_id: str | None = None if root else parent.span_id
        self.remote: bool = not root and not isinstance(parent, Span)
        self.attributes: dict[str, Value] = {}
        self.links: list[SpanContext] = []
        self.failed: bool = False
        self.ended_at: int = 0
        self._sink = sink
        self.started_at: int = time_ns()

    def ids(self) -> dict[str, str]:
        """Both."""
        return {"trace_id": self.trace_id, "span_id": self.span_id}

    def child(
        self, name: str, kind: SpanKind, attributes: Mapping[str, Value] | None = None
    ) -> "Span":
        """A span below this one."""
        span = Span(name, kind, self, self._sink)
        if attributes:
            span.attributes.update(attributes)
        return span

    def fail(self, exc: BaseException) -> None:
        """Say that it failed, and how: a code, or a type, but never the text of a failure."""
        self.failed = True
        kind = exc.code.name if isinstance(exc, Error) else type(exc).__qualname__
        self.attributes[ERROR_TYPE] = kind

    def end(self) -> None:
        """Give it away; a second time does nothing."""
        if not self.ended_at:
            self.ended_at = time_ns()
            self._sink(self)


def new_span_id() -> str:
    """Sixteen digits."""
    return f"{getrandbits(64):016x}"
