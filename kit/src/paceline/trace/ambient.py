"""The ambient place in a trace, and spans below it: `span`, which nearly always does nothing.

A context variable, like the deadline's, set at the edges (``tracer``) and by every span while it
lasts. So a pool or a cache needs no tracer: it asks what is ambient, and as that is recorded for
one request in ten, or for none, the usual cost is one look at the variable. Tasks inherit it; for
one that begins in a context of its own, `carried` takes it along. Read by ``paceline.postgres``,
``cache``, ``bus``, ``web``, ``rpc``; exemplars read `current`.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final, TypeVar

from paceline.trace.context import SpanContext
from paceline.trace.spans import Span, SpanKind, Value

T = TypeVar("T")

_ambient: ContextVar[SpanContext | None] = ContextVar("paceline_trace", default=None)
_NOTHING: Final[AbstractContextManager[None]] = nullcontext()


def current() -> SpanContext | None:
    """The ambient place in a trace; None outside any. A `Span` if it is recorded here."""
    return _ambient.get()


def recording() -> Span | None:
    """The ambient span, if there is one that goes on.

    A task that outlives the request which began it is not that request's work: nothing is recorded
    below a span that has ended.
    """
    context = _ambient.get()
    return context if isinstance(context, Span) and not context.ended_at else None


def attach(context: SpanContext | None) -> Token[SpanContext | None]:
    """Make it ambient until `detach`: the cheap pair, for middleware."""
    return _ambient.set(context)


def detach(token: Token[SpanContext | None]) -> None:
    """Take back what the `attach` that returned ``token`` set."""
    _ambient.reset(token)


def outgoing() -> dict[str, str]:
    """The headers that tell another process of the ambient trace; none outside any."""
    context = _ambient.get()
    return {} if context is None else context.headers()


def span(
    name: str, kind: SpanKind = SpanKind.INTERNAL, attributes: Mapping[str, Value] | None = None
) -> AbstractContextManager[Span | None]:
    """A span around a block, below the ambient one; None when nothing is recorded.

    It fails with whatever leaves the block. Give attributes that cost something to make to the span
    itself, inside the block.
    """
    parent = recording()
    if parent is None:
        return _NOTHING
    return Active(parent.child(name, kind, attributes))


class Active:
    """A span that is ambient during a block, and ends with it."""

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


def carried(call: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
    """``call``, to be run in a context of its own and yet in the trace that is ambient now."""
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
