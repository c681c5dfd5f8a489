"""Spans of shared work: one span, in the trace of its first caller, linked to the others'.

A coalescer's batch and a batch of messages serve many callers, and a span has one parent. So the
work is a child of the first caller that is recorded: the trace of a call that shared no batch is
complete. Every other recorded caller gets a link to the work, and the work a link to it, so that
either leads to the other. Rejected: a copy of the span for each caller, which would say that the
work was done as often; and links alone, with which no trace would be complete.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from paceline.coalesce import BatchStart
from paceline.trace.ambient import ActiveSpan, recording_span
from paceline.trace.spans import Span, SpanKind

_MAX_LINKS: Final = 128
_NOT_RECORDED: Final[AbstractContextManager[None]] = nullcontext()


class BatchSpans:
    """Observes any number of coalescers: a span for each batch with a caller that is recorded.

    Attributes: ``paceline.batch.items``, ``.callers``, and ``.waited``, the seconds that the first
    of them waited.
    """

    def capture(self) -> Span | None:
        """The caller's span."""
        return recording_span()

    def batch(self, start: BatchStart) -> AbstractContextManager[Span | None]:
        """The batch's span, ambient while it runs."""
        callers = [each for each in start.captured if isinstance(each, Span)]
        if not callers:
            return _NOT_RECORDED
        span = callers[0].child(start.name, SpanKind.INTERNAL)
        span.attributes["paceline.batch.items"] = start.items
        span.attributes["paceline.batch.callers"] = len(start.captured)
        span.attributes["paceline.batch.waited"] = round(max(start.waited), 6)
        link(span, callers[1:])
        return ActiveSpan(span)


def shared_parent(spans: Sequence[Span]) -> Span:
    """The parent for work that ``spans`` share: the first of them, linked with the others."""
    first, *others = spans
    link(first, others)
    return first


def link(work: Span, callers: Sequence[Span]) -> None:
    """Link both ways; a caller that has ended cannot be changed, so only ``work`` gets a link."""
    for caller in callers[:_MAX_LINKS]:
        work.links.append(caller)
        if not caller.ended_at:
            caller.links.append(work)
