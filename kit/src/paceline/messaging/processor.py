"""A batch through its handler: decoded, bounded in time, halved when it fails, one outcome each.

Invariant: whatever the handler does, every delivery gets a settlement, and only a stop ends the
wait for it. A batch that *raises* a `TRANSIENT` error counts as no attempt: it is held and tried
again, so an outage of a dependency, however long, makes no dead letters. So is a batch whose query
was cut off: a locked table is an outage, too. If other batches succeed meanwhile the error is one
message's after all. Any other error is narrowed down by halving the
batch until one message fails alone; but not a handler that took too long by itself, since each half
would run into that again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

import msgspec

from paceline.concurrency import DeadlineExceeded, fail_after
from paceline.errors import Code, Error, copy_exception
from paceline.json_keys import check_distinct_keys
from paceline.log import Logger
from paceline.messaging.delivery import Delivery, Disposition, Settlement
from paceline.messaging.delivery_policy import TRANSIENT, UndecodableMessage
from paceline.messaging.message import Incoming
from paceline.messaging.settings import ConsumerSettings
from paceline.messaging.spans import ProcessSpans
from paceline.messaging.waiting import Backoff
from paceline.trace import Tracer

T = TypeVar("T")

Outcomes: TypeAlias = Sequence[Exception | None]

Handler: TypeAlias = Callable[[Sequence[Incoming[T]]], Awaitable[Outcomes]]
"""Gives an outcome for each message, in order: None when its effect is committed. What it raises is
about the whole batch, of which nothing has taken effect then."""

_UNCANCELLED_GRACE: Final = 5.0
_CANCEL_GRACE: Final = 1.0
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0
_MAX_HOLDS: Final = 3


class Permit(Protocol):
    """One piece of work that is counted as in flight."""

    def release(self) -> None:
        """Count it no more."""
        ...


class InFlight(Protocol):
    """Counts the work of a process, as `paceline.resilience.LoadShedder` does."""

    def admit_background(self) -> Permit:
        """Count one call of the handler as in flight, whatever the size of its batch."""
        ...


class BatchProcessor(Generic[T]):
    """Calls the handler with batches. ``calls``: how often so far.

    ``blocked_by``: the failure because of which nothing can be handled at the moment, or None.
    """

    def __init__(
        self,
        handler: Handler[T],
        log: Logger,
        *,
        type: type[T],  # noqa: A002 - what a message is decoded to, as msgspec calls it
        name: str,
        settings: ConsumerSettings,
        tracer: Tracer | None = None,
        in_flight: InFlight | None = None,
    ) -> None:
        self.calls: int = 0
        self.blocked_by: Exception | None = None
        self._name = name
        self._handler = handler
        self._log = log
        self._decode = msgspec.json.Decoder(type).decode
        self._policy = settings.policy
        self._timeout = settings.handler_timeout
        self._tracer = tracer
        self._in_flight = in_flight
        self._succeeded = 0
        self._abandoned: set[asyncio.Task[Outcomes]] = set()

    async def process(self, batch: Sequence[Delivery]) -> list[Settlement]:
        """Handle a batch; gives a settlement for each delivery."""
        settlements: list[Settlement] = []
        deliveries: list[Delivery] = []
        items: list[Incoming[T]] = []
        for delivery in batch:
            try:
                self._policy.check_deliveries(delivery)
                item = self._decoded(delivery)
            except Error as exc:
                settlements.append(Settlement(delivery, Disposition.DEAD_LETTER, error=exc))
            else:
                deliveries.append(delivery)
                items.append(item)
        if items:
            outcomes = await self._outcomes(items)
            settlements += map(self._policy.settlement, deliveries, outcomes)
        return settlements

    def _decoded(self, delivery: Delivery) -> Incoming[T]:
        try:
            value = self._decode(delivery.data)
            check_distinct_keys(delivery.data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
            raise UndecodableMessage from exc
        return Incoming(delivery.id, delivery.subject, value, delivery.attempt, delivery.headers)

    async def _outcomes(self, items: Sequence[Incoming[T]]) -> Outcomes:
        succeeded_before, backoff, holds = self._succeeded, Backoff(_FIRST_PAUSE, _LONGEST_PAUSE), 0
        while True:
            try:
                outcomes = await self._call(items)
            except Exception as exc:  # noqa: BLE001 - whatever it is, it is the items' outcome
                failure = exc
            else:
                self._succeeded += 1
                self._note_resumed()
                return outcomes
            holds += 1
            others_succeed = self._succeeded > succeeded_before
            if not _is_transient(failure):
                break
            if not others_succeed:
                self._note_paused(failure)
            # What was cut off has taken long enough: no second time with so many.
            enough = _MAX_HOLDS if len(items) == 1 or not _is_timeout(failure) else 1
            if holds >= enough and (len(items) > 1 or others_succeed):
                break
            await backoff.pause()
        if len(items) == 1 or (_is_timeout(failure) and not _is_transient(failure)):
            return [copy_exception(failure) for _ in items]
        middle = len(items) // 2
        return [*await self._outcomes(items[:middle]), *await self._outcomes(items[middle:])]

    async def _call(self, items: Sequence[Incoming[T]]) -> Outcomes:
        """Call the handler in a task of its own, so it can be cancelled without cancelling us."""
        self.calls += 1
        task = asyncio.create_task(self._timed(items), name=f"{self._name} call", context=Context())
        try:
            await asyncio.wait([task], timeout=self._timeout + _UNCANCELLED_GRACE)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task], timeout=_CANCEL_GRACE)
            self._abandon(task)
            raise
        if not task.done():
            task.cancel()
            self._abandon(task)
            raise DeadlineExceeded(f"a handler of {self._name} does not end")
        if task.cancelled():
            raise Error(Code.CANCELLED, f"a handler of {self._name} was cancelled")
        outcomes = task.result()
        if len(outcomes) != len(items):
            # Not an error to halve for: the batch may well have taken effect.
            message = f"{self._name}: {len(outcomes)} outcomes for {len(items)} items"
            return [RuntimeError(message) for _ in items]
        return outcomes

    async def _timed(self, items: Sequence[Incoming[T]]) -> Outcomes:
        permit = self._in_flight.admit_background() if self._in_flight is not None else None
        try:
            async with fail_after(self._timeout, f"a handler of {self._name}"):
                if self._tracer is None:
                    return await self._handler(items)
                with ProcessSpans(self._tracer, self._name, items) as spans:
                    return spans.record(await self._handler(items))
        finally:
            if permit is not None:
                permit.release()

    def _abandon(self, task: asyncio.Task[Outcomes]) -> None:
        if not task.done():
            self._log.error("a handler does not end", consumer=self._name)
            self._abandoned.add(task)
            task.add_done_callback(self._on_abandoned_done)
        elif not task.cancelled():
            task.exception()  # it failed while it was being cancelled: not to be reported as lost

    def _on_abandoned_done(self, task: asyncio.Task[Outcomes]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()

    def _note_paused(self, exc: Exception) -> None:
        if self.blocked_by is None:
            self._log.warning("consumer paused", consumer=self._name, error=exc)
        self.blocked_by = exc

    def _note_resumed(self) -> None:
        if self.blocked_by is not None:
            self._log.info("consumer resumed", consumer=self._name)
        self.blocked_by = None


def _is_transient(failure: Exception) -> bool:
    """Whether it says that a dependency is down, or so slow that a query of it was cut off."""
    if not isinstance(failure, Error):
        return False
    if failure.code is Code.DEADLINE_EXCEEDED:
        # The handler's own deadline, which named nothing: it is slow by itself.
        return not (isinstance(failure, DeadlineExceeded) and failure.operation is None)
    return failure.code in TRANSIENT


def _is_timeout(failure: Exception) -> bool:
    return isinstance(failure, Error) and failure.code is Code.DEADLINE_EXCEEDED
