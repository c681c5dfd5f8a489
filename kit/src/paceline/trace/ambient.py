"""The ambient span context, and child spans of it: `span`, which nearly always does nothing.

A context variable, like the deadline's, set where a request enters the process and by every span
while it lasts. So a pool or a cache needs no tracer: it reads the ambient context, and as that is
recorded for one request in ten, or for none, the usual cost is one read of the variable. Tasks
inherit it; `in_current_trace` hands it to one that runs in a context of its own.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final, TypeVar

from paceline.trace.context import SpanContext
from paceline.trace.spans import AttributeValue, Span, SpanKind

T = TypeVar("T")

_ambient: ContextVar[SpanContext | None] = ContextVar("paceline_trace", default=None)
_NOT_RECORDED: Final[AbstractContextManager[None]] = nullcontext()


def current_context() -> SpanContext | None:
    """The ambient span context; None outside any trace. A `Span` if it is recorded here."""
    return _ambient.get()


def recording_span() -> Span | None:
    """The ambient span, if there is one and it has not ended.

    A task that outlives the request which started it is not part of that request: nothing is
    recorded below a span that has ended.
    """
    context = _ambient.get()
    return context if isinstance(context, Span) and not context.ended_at else None


def attach(context: SpanContext | None) -> Token[SpanContext | None]:
    """Make ``context`` ambient until `detach`; cheaper than `span`, for middleware."""
    return _ambient.set(context)


def detach(token: Token[SpanContext | None]) -> None:
    """Undo the `attach` that returned ``token``."""
    _ambient.reset(token)


def propagation_headers() -> dict[str, str]:
    """The W3C headers that continue the ambient trace in another process; none outside any."""
    context = _ambient.get()
    return {} if context is None else context.headers()


def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[str, AttributeValue] | None = None,
) -> AbstractContextManager[Span | None]:
    """A span around a block, below the ambient one; None when nothing is recorded.

    An exception that leaves the block marks it as failed. Set attributes that are expensive to
    compute on the span itself, inside the block.

        with span("load page", SpanKind.CLIENT) as recorded:
            rows = await fetch()
            if recorded is not None:
                recorded.attributes["rows"] = len(rows)
    """
    parent = recording_span()
    if parent is None:
        return _NOT_RECORDED
    return ActiveSpan(parent.child(name, kind, attributes))


class ActiveSpan:
    """Makes a span ambient during a block, and ends it afterwards."""

    __slots__ = ("_span", "_token")
    _token: Token[SpanContext | None]

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> Span:
        self._token = _ambient.set(self._span)
        return self._span

    def __exit__(
        self,
        _type: type[BaseException] | None,
        exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        _ambient.reset(self._token)
        if exc is not None:
            self._span.fail(exc)
        self._span.end()


def in_current_trace(call: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
    """``call``, for a task with a context of its own, in the trace that is ambient now."""
    context = _ambient.get()
    if context is None:
        return call

    async def run() -> T:
        token = _ambient.set(context)
        try:
            return await call()
        finally:
            _ambient.reset(token)

    return run
