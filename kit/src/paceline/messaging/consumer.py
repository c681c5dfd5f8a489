"""The consumer's runtime: fetch many, hand over a batch, settle each by its outcome.

Invariants: a delivery is settled once, after its handler has spoken for it: acknowledged, tried
again later, buried, or given back when we stop. What is in hand is bounded, and kept alive however
long the handler takes. One key goes to one lane, so its messages keep their order in this process,
unless one has to be tried again.

It knows no broker: a `MessageSource` does (``nats_source``). Read ``handling``, ``verdict``,
``lane``.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Generic, Protocol, TypeVar

from paceline.concurrency import remaining
from paceline.errors import Code, Error
from paceline.log import Logger
from paceline.messaging.delivery import Delivery, Disposition, Settlement
from paceline.messaging.delivery_policy import DeliveryPolicy
from paceline.messaging.keyed_queues import Lanes
from paceline.messaging.processor import Handler, Handling
from paceline.trace import Tracer

T = TypeVar("T")

_LAST_GRACE: Final = 1.0
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0


class MessageSource(Protocol):
    """Where deliveries come from and go back to."""

    async def fetch(self, limit: int) -> Sequence[Delivery]:
        """Some deliveries; none is a sign of life. Errors: `Error`, when it cannot for now."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Acknowledge, try again later, bury, give back. Errors: `Error`: they will come again."""
        ...

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        """They are still being worked on."""
        ...

    async def close(self) -> None:
        """Fetch no more, and give back what has arrived unasked. May be repeated."""
        ...


class Backpressure(Protocol):
    """Who says when there is room for work that can wait."""

    async def until_room(self) -> None:
        """Return at once, or when there is."""
        ...


@dataclass(frozen=True, slots=True)
class ConsumerStats:
    """What a consumer has done: deliveries by what became of them, and calls of the handler."""

    acknowledged: int = 0
    retried: int = 0
    buried: int = 0
    returned: int = 0
    calls: int = 0


class Consumer(Generic[T]):
    """Consumes from ``source`` with ``handler``. All times are in seconds.

    ``batch``: items a call at most. ``lanes``: calls at once. ``work_timeout``: what a call may
    take; the handler sees it as its ambient deadline. ``extend_every``: how often the source is
    told of what is in hand. ``alive_within``: the longest silence of the source that still counts
    as consuming. ``start_timeout``: how long `start` waits for the source's first word.
    ``stop_timeout``: what the batches in hand may take to end at a stop, less under an ambient
    deadline. ``policy``: see there. ``tracer``: goes on with the traces that messages come from.
    ``gate``: asked before more is fetched; it must not keep us for long.

    *Resources*: tasks, and through them the source, from `start` to `stop`.
    """

    def __init__(
        self,
        source: MessageSource,
        handler: Handler[T],
        log: Logger,
        *,
        type: type[T],  # noqa: A002 - what a message is decoded to, as msgspec calls it
        name: str = "consumer",
        policy: DeliveryPolicy | None = None,
        batch: int = 256,
        lanes: int = 2,
        work_timeout: float = 60.0,
        extend_every: float = 10.0,
        alive_within: float = 15.0,
        start_timeout: float = 5.0,
        stop_timeout: float = 20.0,
        tracer: Tracer | None = None,
        gate: Backpressure | None = None,
    ) -> None:
        if batch < 1 or lanes < 1:
            raise ValueError("batch and lanes must be at least 1")
        self.name = name
        self._stats = ConsumerStats()
        self._source = source
        self._handler = handler
        self._log = log
        self._policy = policy or DeliveryPolicy()
        self._handling = Handling(
            handler, log, type=type, name=name, policy=self._policy, work_timeout=work_timeout,
            tracer=tracer,
        )  # fmt: skip
        self._batch = batch
        self._most = 2 * lanes * batch
        self._extend_every = extend_every
        self._alive_within = alive_within
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._gate = gate
        self._lanes = Lanes(lanes)
        self._in_hand: dict[Delivery, float] = {}
        self._fewer = asyncio.Event()
        self._fetcher: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._alive_at = 0.0
        self._heard = asyncio.Event()
        self._failure: Error | None = Error(Code.UNAVAILABLE, f"{name} has not begun")

    @property
    def stats(self) -> ConsumerStats:
        """What it has done so far."""
        return replace(self._stats, calls=self._handling.calls)

    async def start(self) -> None:
        """Begin to consume, and wait for the source's first word, whatever it is.

        It goes on in the background when that takes too long; `ready` tells how it stands.
        """
        if self._fetcher is not None:
            raise RuntimeError(f"{self.name} is started already")
        self._lanes.open()
        self._fetcher = asyncio.create_task(self._fetch_for_ever(), name=f"{self.name} fetcher")
        self._tasks = [
            asyncio.create_task(self._work(lane), name=f"{self.name} lane {lane}")
            for lane in range(self._lanes.count)
        ]
        self._tasks.append(asyncio.create_task(self._keep_alive(), name=f"{self.name} keeper"))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._start_timeout):
                await self._heard.wait()

    async def wait(self) -> None:
        """For the lifecycle: ends only when a task of ours has, which is a bug. Errors: its."""
        tasks = [*self._tasks, *([self._fetcher] if self._fetcher else [])]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def ready(self) -> None:
        """For readiness: whether messages really are consumed. Errors: UNAVAILABLE, and why."""
        if self._fetcher is None:
            raise Error(Code.UNAVAILABLE, f"{self.name} is not running")
        if self._failure is not None:
            raise Error(Code.UNAVAILABLE, self._failure.message) from self._failure
        if (reason := self._handling.waits_for) is not None:
            raise Error(Code.UNAVAILABLE, f"{self.name} cannot handle anything") from reason
        silent = asyncio.get_running_loop().time() - self._alive_at
        if silent > self._alive_within and len(self._in_hand) < self._most:
            raise Error(Code.UNAVAILABLE, f"{self.name} hears nothing from the queue")

    async def stop(self) -> None:
        """Fetch no more, let the batches in hand end, give everything else back.

        What is given back is delivered again at once and has not used up an attempt.
        Errors: ``Error(ABORTED)`` when a batch was cut off.
        """
        fetcher, self._fetcher = self._fetcher, None
        tasks, self._tasks = self._tasks, []
        if fetcher is None:
            return
        keeper = tasks.pop()
        cut = False
        try:
            fetcher.cancel()
            await asyncio.wait([fetcher])
            self._lanes.close()
            left = remaining()
            grace = self._stop_timeout if left is None else min(self._stop_timeout, 0.8 * left)
            _, cut_off = await asyncio.wait(tasks, timeout=grace)
            cut = bool(cut_off)
        finally:
            for task in (fetcher, keeper, *tasks):
                task.cancel()
            await asyncio.wait([fetcher, keeper, *tasks], timeout=_LAST_GRACE)
            await self._give_back()
        if cut:
            raise Error(Code.ABORTED, f"{self.name} was cut off in the middle of a batch")

    async def _give_back(self) -> None:
        try:
            async with asyncio.timeout(_LAST_GRACE):
                await self._settle([Settlement(each, Disposition.RETURN) for each in self._in_hand])
        except TimeoutError:
            pass  # the broker notices by itself, later
        self._in_hand.clear()
        with suppress(Error):
            await self._source.close()

    async def _fetch_for_ever(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            while (room := self._most - len(self._in_hand)) < self._batch:
                self._fewer.clear()
                await self._fewer.wait()
            if self._gate is not None:
                await self._gate.until_room()
            try:
                deliveries = await self._source.fetch(room)
            except Error as exc:
                self._note_failure(exc)
                self._heard.set()
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            self._alive_at = asyncio.get_running_loop().time()
            self._note_success()
            self._heard.set()
            for delivery in deliveries:
                self._in_hand[delivery] = self._alive_at
                self._lanes.add(delivery)

    def _note_failure(self, exc: Error) -> None:
        if self._failure is None or self._failure.message != exc.message:
            self._log.warning("consumer cannot fetch", consumer=self.name, error=exc)
        self._failure = exc

    def _note_success(self) -> None:
        if self._failure is not None:
            self._log.info("consuming", consumer=self.name)
        self._failure = None

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._extend_every / 2)
            now = asyncio.get_running_loop().time()
            old = [each for each, at in self._in_hand.items() if now - at >= self._extend_every / 2]
            if old:
                with suppress(Error):  # whoever fetches hears of it too
                    await self._source.extend(old)
                for each in old:
                    if each in self._in_hand:
                        self._in_hand[each] = now

    async def _work(self, lane: int) -> None:
        while batch := await self._lanes.take(lane, self._limit):
            await self._settle(await self._handling.judge(batch))
            for delivery in batch:
                self._in_hand.pop(delivery, None)
            self._fewer.set()

    def _limit(self, delivery: Delivery) -> int:
        """How many go together: what has failed before goes in smaller company, then alone."""
        if delivery.attempt > 2 or delivery.deliveries > self._policy.max_deliver:  # noqa: PLR2004 - the second chance is in company
            return 1
        return self._batch if delivery.attempt == 1 else max(1, self._batch // 16)

    async def _settle(self, settlements: Sequence[Settlement]) -> None:
        if not settlements:
            return
        self._policy.tell(self._log, self.name, settlements)
        try:
            await self._source.settle(settlements)
        except Error as exc:
            self._log.warning("could not settle", consumer=self.name, error=exc)
            return
        count = dict.fromkeys(Disposition, 0)
        for settlement in settlements:
            count[settlement.verdict] += 1
        self._stats = replace(
            self._stats,
            acknowledged=self._stats.acknowledged + count[Disposition.ACK],
            retried=self._stats.retried + count[Disposition.RETRY],
            buried=self._stats.buried + count[Disposition.BURY],
            returned=self._stats.returned + count[Disposition.RETURN],
        )
