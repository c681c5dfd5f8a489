"""A request's place in a trace: ambient, and in its log lines, for the length of a block.

What the request sends carries the place on; its log lines have ``trace_id``, and ``span_id`` where
a span is recorded.
"""

from contextvars import Token
from types import TracebackType

from paceline.log import pop, push
from paceline.trace import SpanContext, attach, detach


class ambient_trace:  # noqa: N801 - reads as a statement: with ambient_trace(context):
    """Make ``context`` the ambient place in a trace. A class: contextlib's generator costs more."""

    __slots__ = ("_context", "_fields", "_place")
    _fields: "Token[object]"
    _place: Token[SpanContext | None]

    def __init__(self, context: SpanContext) -> None:
        self._context = context

    def __enter__(self) -> None:
        self._place = attach(self._context)
        self._fields = push(self._context.ids())

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        pop(self._fields)
        detach(self._place)
