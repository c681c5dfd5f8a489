"""A broker in memory: a fake `MessageSource` for the consumer's tests."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from paceline.errors import Code, Error
from paceline.messaging import Delivery, Disposition, Message, Settlement
from paceline.messaging.dead_letter import kind_of


@dataclass
class MemorySource:
    """Delivers what was published until it is settled; delays are real, and short in tests."""

    ack_wait: float = 30.0
    dead: list[tuple[str, str, int]] = field(default_factory=list[tuple[str, str, int]])
    down: bool = False
    _ready: list[Delivery] = field(default_factory=list[Delivery])
    _pending: dict[str, tuple[Delivery, asyncio.TimerHandle]] = field(
        default_factory=dict[str, tuple[Delivery, asyncio.TimerHandle]]
    )
    _later: set[asyncio.TimerHandle] = field(default_factory=set[asyncio.TimerHandle])
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _answered: bool = False
    _last: int = 0

    async def publish(self, message: Message) -> None:
        self._enqueue(Delivery(message.id, message.subject, message.data, "", key=message.key))

    async def fetch(self, limit: int) -> Sequence[Delivery]:
        if self.down:
            raise Error(Code.UNAVAILABLE, "the fake is down")
        if not self._ready and self._answered:
            self._changed.clear()
            await self._changed.wait()
        self._answered = True  # the first answer comes at once, as a real broker's does
        taken, self._ready = self._ready[:limit], self._ready[limit:]
        return [self._deliver(each) for each in taken]

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        loop = asyncio.get_running_loop()
        for each in settlements:
            delivery = self._settle_pending(each.delivery)
            if delivery is None:
                continue
            if each.disposition is Disposition.REQUEUE:
                self._enqueue(delivery)
            elif each.disposition is Disposition.RETRY:
                again = replace(delivery, attempt=delivery.attempt + 1)
                self._later.add(loop.call_later(each.delay, self._enqueue, again))
            elif each.disposition is Disposition.DEAD_LETTER:
                error = each.error or Error(Code.UNKNOWN, "")
                self.dead.append((delivery.id, kind_of(error), delivery.attempt))

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        for each in deliveries:
            if self._settle_pending(each) is not None:
                self._hold(each)

    async def close(self) -> None:
        return

    def cancel_timers(self) -> None:
        for _, timer in self._pending.values():
            timer.cancel()
        for timer in self._later:
            timer.cancel()

    def _deliver(self, delivery: Delivery) -> Delivery:
        self._last += 1
        count = delivery.deliveries + (1 if delivery.receipt else 0)
        delivered = replace(delivery, receipt=str(self._last), deliveries=count)
        self._hold(delivered)
        return delivered

    def _hold(self, delivery: Delivery) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self.ack_wait, self._expire, delivery)
        self._pending[delivery.receipt] = (delivery, timer)

    def _expire(self, delivery: Delivery) -> None:
        if self._settle_pending(delivery) is not None:
            self._enqueue(delivery)

    def _settle_pending(self, delivery: Delivery) -> Delivery | None:
        found = self._pending.pop(delivery.receipt, None)
        if found is None:
            return None
        found[1].cancel()
        return found[0]

    def _enqueue(self, delivery: Delivery) -> None:
        self._ready.append(delivery)
        self._changed.set()
