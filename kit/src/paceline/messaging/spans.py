"""Spans of messages: one for each that is published, one for each that is handled.

A message's headers carry its position in a trace (W3C ``traceparent``), updated when it is
published and when it is handled, so a trace continues through an outbox and a queue however long
the message lies there. Invariant: a message that is not sampled costs no more than a look at one
header. A handler gets many messages at once: its work belongs to the trace of the first that is
recorded, linked to the others (``paceline.trace.batch_spans``). Names are OpenTelemetry's semantic
conventions for messaging.
"""

from collections.abc import Sequence
from contextvars import Token
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from paceline.log import pop_fields, push_fields
from paceline.messaging.message import Incoming, Message
from paceline.trace import (
    TRACEPARENT,
    TRACESTATE,
    Span,
    SpanContext,
    SpanKind,
    Tracer,
    attach,
    detach,
    is_sampled,
    propagation_headers,
    shared_parent,
)

T = TypeVar("T")


class _MessageSpans:
    """The spans of a batch of messages, by index, until the block ends."""

    __slots__ = ("_spans",)

    def __init__(self) -> None:
        self._spans: dict[int, Span] = {}

    def __enter__(self) -> Self:
        return self

    def record(self, outcomes: Sequence[Exception | None]) -> Sequence[Exception | None]:
        """Mark the spans of the messages that failed; gives the outcomes, one for each message."""
        for number, span in self._spans.items():
            outcome = outcomes[number] if number < len(outcomes) else None
            if outcome is not None:
                span.fail(outcome)
        return outcomes

    def __exit__(
        self,
        _type: type[BaseException] | None,
        exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        for span in self._spans.values():
            if exc is not None:
                span.fail(exc)
            span.end()


class PublishSpans(_MessageSpans):
    """A batch of messages being published. ``messages``: what to publish, with its headers."""

    __slots__ = ("messages",)

    def __init__(self, tracer: Tracer | None, system: str, messages: Sequence[Message]) -> None:
        super().__init__()
        ambient = propagation_headers()
        self.messages: Sequence[Message] = messages
        if not ambient and (tracer is None or not tracer.records):
            return
        self.messages = changed = [*messages]
        for number, message in enumerate(messages):
            headers = message.headers
            if TRACEPARENT not in headers:
                if not ambient:
                    continue
                headers = {**headers, **ambient}
            if tracer is not None and is_sampled(headers[TRACEPARENT]):
                headers = self._begin(number, tracer, system, message, headers)
            if headers is not message.headers:
                changed[number] = msgspec.structs.replace(message, headers=headers)

    def _begin(
        self, number: int, tracer: Tracer, system: str, message: Message, headers: dict[str, str]
    ) -> dict[str, str]:
        context = _start_span(tracer, f"send {message.subject}", SpanKind.PRODUCER, headers)
        if not isinstance(context, Span):
            return headers
        self._spans[number] = context
        context.attributes |= {
            "messaging.system": system,
            "messaging.operation.name": "publish",
            "messaging.operation.type": "send",
            "messaging.destination.name": message.subject,
            "messaging.message.id": message.id,
        }
        return {**headers, **context.headers()}


class ProcessSpans(_MessageSpans):
    """A batch of messages in a handler, for the block that calls it."""

    __slots__ = ("_logged", "_token")
    _token: Token[SpanContext | None]

    def __init__(self, tracer: Tracer, consumer: str, items: Sequence[Incoming[T]]) -> None:
        super().__init__()
        context: SpanContext | None = None
        alone = len(items) == 1
        for number, item in enumerate(items):
            parent = item.headers.get(TRACEPARENT)
            # A message without a trace begins one here.
            if alone or (tracer.records and (parent is None or is_sampled(parent))):
                context = _start_span(
                    tracer, f"process {item.subject}", SpanKind.CONSUMER, item.headers
                )
                if isinstance(context, Span):
                    self._spans[number] = context
                    _describe(context, consumer, item)
        position = (
            shared_parent([*self._spans.values()]) if self._spans else context if alone else None
        )
        self._token = attach(position)
        self._logged = push_fields(position.ids()) if position is not None else None

    def __exit__(
        self,
        _type: type[BaseException] | None,
        exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._logged is not None:
            pop_fields(self._logged)
        detach(self._token)
        super().__exit__(_type, exc, _traceback)


def _describe(span: Span, consumer: str, item: Incoming[T]) -> None:
    span.attributes |= {
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": item.subject,
        "messaging.consumer.group.name": consumer,
        "messaging.message.id": item.id,
        "paceline.message.attempt": item.attempt,
    }


def _start_span(tracer: Tracer, name: str, kind: SpanKind, headers: dict[str, str]) -> SpanContext:
    return tracer.enter(name, kind, headers.get(TRACEPARENT), headers.get(TRACESTATE, ""))
