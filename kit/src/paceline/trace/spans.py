"""A span that is recorded: a name, start and end, attributes, links to spans of other traces.

Invariant: a span goes to its sink once, when it ends, and is never changed after that, so no lock
is needed. Attributes hold names, counts and codes, never values of requests, rows or messages.
Rejected: the SDK's own spans, whose locks, limits and checks cost several times as much as what
they record; these are encoded as OTLP's messages when they are exported, by another thread.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from random import getrandbits
from time import time_ns
from typing import Final, TypeAlias

from paceline.errors import Error
from paceline.trace.context import SpanContext

AttributeValue: TypeAlias = str | int | float | bool
ERROR_TYPE: Final = "error.type"


class SpanKind(Enum):
    """Which side of a call a span is; named as in OpenTelemetry."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class Span(SpanContext):
    """One span, from its construction to `end`. Times are nanoseconds since the Unix epoch.

    ``parent_id``: None for the root of a trace. ``remote``: whether the parent is in another
    process. ``failed``: whether it counts as an error.
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
        """``root``: a span without a parent; ``parent`` holds its own ids."""
        span_id = parent.span_id if root else new_span_id()
        super().__init__(parent.trace_id, span_id, parent.flags, parent.state)
        self.name: str = name
        self.kind: SpanKind = kind
        self.parent_id: str | None = None if root else parent.span_id
        self.remote: bool = not root and not isinstance(parent, Span)
        self.attributes: dict[str, AttributeValue] = {}
        self.links: list[SpanContext] = []
        self.failed: bool = False
        self.ended_at: int = 0
        self._sink = sink
        self.started_at: int = time_ns()

    def ids(self) -> dict[str, str]:
        """Both ids."""
        return {"trace_id": self.trace_id, "span_id": self.span_id}

    def child(
        self, name: str, kind: SpanKind, attributes: Mapping[str, AttributeValue] | None = None
    ) -> "Span":
        """A span below this one."""
        span = Span(name, kind, self, self._sink)
        if attributes:
            span.attributes.update(attributes)
        return span

    def fail(self, exc: BaseException) -> None:
        """Mark it as failed, with the error's code or type but never its text."""
        self.failed = True
        reason = exc.code.name if isinstance(exc, Error) else type(exc).__qualname__
        self.attributes[ERROR_TYPE] = reason

    def end(self) -> None:
        """Record the time and hand it to the sink; a second time does nothing."""
        if not self.ended_at:
            self.ended_at = time_ns()
            self._sink(self)


def new_span_id() -> str:
    """Sixteen random hexadecimal digits."""
    return f"{getrandbits(64):016x}"
