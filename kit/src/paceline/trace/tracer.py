"""Where a trace enters the process or begins in it: sampled or not.

The decision is ``ParentBased(TraceIdRatioBased(ratio))``: work that came with a trace follows its
sender's decision, and for the rest the trace's id decides by the SDK's own formula, so any two
services with one ratio agree. Invariant: what is not recorded here has no span of its own. It
passes on the ids that it came with, so the tree that others record has no gap, and it costs a few
microseconds. Without a sink nothing is recorded, while ids are still propagated and logged.

A sender's decision costs this process its time and its collector space, and a sender may be anybody
who writes a header, so such traces have a limit a second. What is beyond it is passed on as it
came. Rejected: clearing its flag, for which the standard asks for a new parent, which nobody would
record.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import getrandbits
from typing import Final

from paceline.resilience import RateLimiter
from paceline.stats import StatsEntry
from paceline.trace.context import SAMPLED, SpanContext, parse
from paceline.trace.spans import Span, SpanKind

_LOW: Final = (1 << 64) - 1
_ALL: Final = ""  # one bucket, whoever sends


@dataclass(frozen=True, slots=True)
class TracerStats:
    """``limited``: how often a sampled trace came and was not recorded, for the limit."""

    limited: int


class Tracer:
    """Samples traces: ``ratio`` of those that begin here, 0 to 1.

    ``sink`` receives each span that has ended; it must neither block nor raise. None: record
    nothing. ``limit``: of the traces that are recorded because their sender's are; None for none.

        limit = RateLimiter(SystemClock(), rate=1000)
        tracer = Tracer(export.record, limit, ratio=0.1)
        context = tracer.enter("GET /things", SpanKind.SERVER, headers.get("traceparent"))

    Errors: ValueError for another ratio.
    """

    def __init__(
        self,
        sink: Callable[[Span], None] | None = None,
        limit: RateLimiter | None = None,
        *,
        ratio: float,
    ) -> None:
        if not 0 <= ratio <= 1:
            raise ValueError("the ratio must be between 0 and 1")
        self._sink = sink
        self._limit = limit
        self._limited = 0
        self._bound = round(ratio * (1 << 64))

    @property
    def stats(self) -> TracerStats:
        """Counts so far."""
        return TracerStats(self._limited)

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: what the limit has kept from being recorded."""
        yield StatsEntry("tracers", "traces", lambda: self.stats)

    @property
    def records(self) -> bool:
        """Whether there is a sink."""
        return self._sink is not None

    def enter(
        self, name: str, kind: SpanKind, traceparent: str | None = None, tracestate: str = ""
    ) -> SpanContext:
        """The span context of work that begins now, to be made ambient (`attach`).

        If it is recorded, this is a `Span`, which the caller must end. ``traceparent``,
        ``tracestate``: the headers that came with it.
        """
        parent = None if traceparent is None else parse(traceparent, tracestate)
        if parent is None:
            return self._begin(name, kind)
        if self._sink is None or not parent.sampled:
            return parent
        if self._limit is not None and not self._limit.take(_ALL).allowed:
            self._limited += 1
            return parent
        return Span(name, kind, parent, self._sink)

    def _begin(self, name: str, kind: SpanKind) -> SpanContext:
        bits = getrandbits(192)
        digits = bits.to_bytes(24, "big").hex()  # a third of what formatting costs
        sampled = (bits >> 64) & _LOW < self._bound
        context = SpanContext(digits[:32], digits[32:], SAMPLED if sampled else 0)
        if self._sink is None or not sampled:
            return context
        return Span(name, kind, context, self._sink, root=True)
