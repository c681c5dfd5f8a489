"""A batch through its handler: decoded, bounded in time, halved when it fails, one outcome each.

Invariant: whatever the handler does, every delivery gets a verdict, and only a stop ends the wait
for it. A batch that *raises* because the world is down (`TRANSIENT`) counts for nobody: it is held
and tried again, so an outage, however long, buries nothing. Unless others succeed meanwhile: then
it is the fault of one after all. Any other error is halved until the culprit fails alone; but not
a timeout, since halves of what hangs would hang in turn. Called by ``consumer``; read ``verdict``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Final, Generic, TypeAlias, TypeVar

import msgspec

from paceline.concurrency import fail_after
from paceline.errors import Code, Error, copied
from paceline.log import Logger
from paceline.messaging.delivery import Delivery, Disposition, Settlement
from paceline.messaging.delivery_policy import TRANSIENT, DeliveryPolicy, Undecodable
from paceline.messaging.message import Incoming
from paceline.messaging.spans import Processing
from paceline.trace import Tracer

T = TypeVar("T")

Outcomes: TypeAlias = Sequence[Exception | None]

Handler: TypeAlias = Callable[[Sequence[Incoming[T]]], Awaitable[Outcomes]]
"""Gives an outcome for each item, in order: None when its effect is committed. What it raises is
about the whole batch, of which nothing has taken effect then."""

_SWALLOWED_GRACE: Final = 5.0
_LAST_GRACE: Final = 1.0
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0
_PATIENCE: Final = 3


class Handling(Generic[T]):
    """Judges batches. ``waits_for``: why it cannot at the moment; ``calls`` of the handler."""

    def __init__(
        self,
        handler: Handler[T],
        log: Logger,
        *,
        type: type[T],  # noqa: A002 - what a message is decoded to, as msgspec calls it
        name: str,
        policy: DeliveryPolicy,
        work_timeout: float,
        tracer: Tracer | None = None,
    ) -> None:
        self.calls = 0
        self.waits_for: Exception | None = None
        self._name = name
        self._handler = handler
        self._log = log
        self._decode = msgspec.json.Decoder(type).decode
        self._policy = policy
        self._work_timeout = work_timeout
        self._tracer = tracer
        self._succeeded = 0
        self._abandoned: set[asyncio.Task[Outcomes]] = set()

    async def judge(self, batch: Sequence[Delivery]) -> list[Settlement]:
        """What becomes of each."""
        settlements: list[Settlement] = []
        deliveries: list[Delivery] = []
        items: list[Incoming[T]] = []
        for delivery in batch:
            try:
                self._policy.admit(delivery)
                item = self._decoded(delivery)
            except Error as exc:
                settlements.append(Settlement(delivery, Disposition.BURY, error=exc))
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
        except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
            raise Undecodable from exc
        return Incoming(delivery.id, delivery.subject, value, delivery.attempt, delivery.headers)

    async def _outcomes(self, items: Sequence[Incoming[T]]) -> Outcomes:
        before, pause, held = self._succeeded, _FIRST_PAUSE, 0
        while True:
            try:
                outcomes = await self._call(items)
            except Exception as exc:  # noqa: BLE001 - whatever it is, it is the items' outcome
                failure = exc
            else:
                self._succeeded += 1
                self._resume()
                return outcomes
            held += 1
            if self._is_of_items(failure, items, before, held):
                break
            self._pause(failure)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        if len(items) == 1 or is_overdue(failure):
            return [copied(failure) for _ in items]
        middle = len(items) // 2
        return [*await self._outcomes(items[:middle]), *await self._outcomes(items[middle:])]

    def _is_of_items(
        self, failure: Exception, items: Sequence[Incoming[T]], before: int, held: int
    ) -> bool:
        """Whether to look for the culprit among the items, and not to wait for the world."""
        if not isinstance(failure, Error) or failure.code not in TRANSIENT:
            return True
        return held >= _PATIENCE and (len(items) > 1 or self._succeeded > before)

    async def _call(self, items: Sequence[Incoming[T]]) -> Outcomes:
        """Call the handler in a task of its own: it may be cancelled, and we not with it."""
        self.calls += 1
        task = asyncio.create_task(self._timed(items), name=f"{self._name} call", context=Context())
        try:
            await asyncio.wait([task], timeout=self._work_timeout + _SWALLOWED_GRACE)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task], timeout=_LAST_GRACE)
            self._abandon(task)
            raise
        if not task.done():
            task.cancel()
            self._abandon(task)
            raise Error(Code.DEADLINE_EXCEEDED, f"a handler of {self._name} does not end")
        if task.cancelled():
            raise Error(Code.CANCELLED, f"a handler of {self._name} was cancelled")
        outcomes = task.result()
        if len(outcomes) != len(items):
            # Not an error to halve for: the batch may well have taken effect.
            message = f"{self._name}: {len(outcomes)} outcomes for {len(items)} items"
            return [RuntimeError(message) for _ in items]
        return outcomes

    async def _timed(self, items: Sequence[Incoming[T]]) -> Outcomes:
        async with fail_after(self._work_timeout, f"a handler of {self._name}"):
            if self._tracer is None:
                return await self._handler(items)
            with Processing(self._tracer, self._name, items) as processing:
                return processing.told(await self._handler(items))

    def _abandon(self, task: asyncio.Task[Outcomes]) -> None:
        if not task.done():
            self._log.error("a handler does not end", consumer=self._name)
            self._abandoned.add(task)
            task.add_done_callback(self._over)
        elif not task.cancelled():
            task.exception()  # it failed as it was cut off, and nobody waits for it

    def _over(self, task: asyncio.Task[Outcomes]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()

    def _pause(self, exc: Exception) -> None:
        if self.waits_for is None:
            self._log.warning("consumer waits", consumer=self._name, error=exc)
        self.waits_for = exc

    def _resume(self) -> None:
        if self.waits_for is not None:
            self._log.info("consumer goes on", consumer=self._name)
        self.waits_for = None


def is_overdue(failure: Exception) -> bool:
    """Whether it was cut off for taking too long."""
    return isinstance(failure, Error) and failure.code is Code.DEADLINE_EXCEEDED
