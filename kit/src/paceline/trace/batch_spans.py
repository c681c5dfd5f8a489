"""Spans of shared work: one for all, in the trace of its first caller, linked to the others'.

A batch of a coalescer and a batch of messages serve many callers, and a span has one parent. So the
work stands below the first caller that is recorded: a trace whose calls travelled alone is whole.
Every other recorded caller gets a link to the work, and the work one to it, so whoever looks at
either finds the other. Rejected: a copy of the span for each caller, which would say that the work
was done as often; and links alone, with which nobody's trace would be whole. `BatchSpans` is the
coalescers' `Observer`; ``paceline.messaging`` uses `joined`.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from paceline.coalesce import BatchStart
from paceline.trace.ambient import Active, recording
from paceline.trace.spans import Span, SpanKind

_MOST_LINKS: Final = 128
_NOTHING: Final[AbstractContextManager[None]] = nullcontext()


class BatchSpans:
    """Watches any number of coalescers: a span for each batch on which somebody is recorded."""

    def capture(self) -> Span | None:
        """The caller's span."""
        return recording()

    def batch(self, start: BatchStart) -> AbstractContextManager[Span | None]:
        """The batch's span, ambient while it is under way."""
        callers = [each for each in start.captured if isinstance(each, Span)]
        if not callers:
            return _NOTHING
        span = callers[0].child(start.name, SpanKind.INTERNAL)
        span.attributes["paceline.trip.items"] = start.items
        span.attributes["paceline.trip.callers"] = len(start.captured)
        span.attributes["paceline.trip.waited"] = round(max(start.waited), 6)
        link(span, callers[1:])
        return Active(span)


def joined(spans: Sequence[Span]) -> Span:
    """The span of several under which their common work is to stand: the first, linked."""
    first, *others = spans
    link(first, others)
    return first


def link(work: Span, callers: Sequence[Span]) -> None:
    """Make each find the other; what has ended meanwhile is found only."""
    for caller in callers[:_MOST_LINKS]:
        work.links.append(caller)
        if not caller.ended_at:
            caller.links.append(work)
