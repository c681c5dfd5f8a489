"""The edges of a process: a trace comes in and goes on, or begins here, recorded or not.

The decision is ``ParentBased(TraceIdRatioBased(ratio))``: of what came with a trace its sender has
decided, of anything else the trace's id does, by the SDK's own formula, so any two services with
one ratio agree. Invariant: what is not recorded here has no span of its own. It passes on the ids
it came with, and the tree that others record has no hole; and it costs a few microseconds. Without
a sink nothing is recorded, and ids still go through and stand in the logs. Used by the middleware,
the interceptor, the queue's publisher and consumer; built by ``main``.
"""

from collections.abc import Callable
from random import getrandbits
from typing import Final

from paceline.trace.context import SAMPLED, SpanContext, parse
from paceline.trace.spans import Span, SpanKind

_LOW: Final = (1 << 64) - 1


class Tracer:
    """Decides about traces. ``ratio`` of those that begin here are sampled, 0 to 1.

    ``sink`` gets each span that has ended; it must neither block nor raise. None: record nothing.
    """

    def __init__(self, sink: Callable[[Span], None] | None = None, *, ratio: float) -> None:
        if not 0 <= ratio <= 1:
            raise ValueError("a ratio is between 0 and 1")
        self._sink = sink
        self._bound = round(ratio * (1 << 64))

    @property
    def records(self) -> bool:
        """Whether anything is recorded at all."""
        return self._sink is not None

    def enter(
        self, name: str, kind: SpanKind, traceparent: str | None = None, tracestate: str = ""
    ) -> SpanContext:
        """The place of what begins now, to be made ambient: a `Span`, to be ended, if recorded.

        ``traceparent``, ``tracestate``: the headers that came with it.
        """
        parent = None if traceparent is None else parse(traceparent, tracestate)
        if parent is None:
            return self._begin(name, kind)
        if self._sink is None or not parent.sampled:
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
