"""The consumer: fetch many, hand over a batch, settle each message by its outcome.

Invariants: a delivery is settled once, after its handler has given an outcome for it: acknowledged,
tried again later, stored as a dead letter, or returned to the queue at a stop. What is in hand is
bounded, and its deliveries are extended however long the handler takes. Messages of one key are
handled in order by this process, unless one of them has to be tried again.

It knows no broker: a `MessageSource` does (``nats.source``, ``kafka.source``).
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Generic, Protocol, TypeVar

from paceline.concurrency import remaining
from paceline.errors import Code, Error
from paceline.log import Logger
from paceline.messaging.delivery import Delivery, Disposition, Settlement
from paceline.messaging.delivery_policy import log_failures
from paceline.messaging.keyed_queues import KeyedQueues
from paceline.messaging.processor import BatchProcessor, Handler, InFlight
from paceline.messaging.settings import ConsumerSettings
from paceline.messaging.waiting import Backoff
from paceline.stats import StatsEntry
from paceline.trace import Tracer

T = TypeVar("T")

_REQUEUE_TIMEOUT: Final = 1.0
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0
_MISSED_HEARTBEATS: Final = 3


class MessageSource(Protocol):
    """Where deliveries come from and where they are settled."""

    async def fetch(self, limit: int) -> Sequence[Delivery]:
        """Wait for deliveries; none is a sign of life. Errors: `Error`, when it cannot for now."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Do what the settlements say. Errors: `Error`: they will be delivered again."""
        ...

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        """Keep the broker from delivering to others what is still being handled."""
        ...

    async def close(self) -> None:
        """Fetch no more, and return what has arrived and was not fetched. May be repeated."""
        ...


class Backpressure(InFlight, Protocol):
    """Slows a consumer whose process is loaded: `paceline.resilience.LoadShedder`."""

    async def wait_for_capacity(self) -> None:
        """Return when the process has capacity, or after a bounded time."""
        ...


@dataclass(frozen=True, slots=True)
class ConsumerStats:
    """Deliveries by what became of them, and calls of the handler, since the consumer was made."""

    acknowledged: int = 0
    retried: int = 0
    dead_lettered: int = 0
    requeued: int = 0
    calls: int = 0


class Consumer(Generic[T]):
    """Consumes from ``source`` with ``handler``. Times are in seconds.

    ``extend_interval``: how often a delivery in hand is extended. ``silence_timeout``: the longest
    silence of the source with which `ready` still succeeds; three heartbeats by default.
    ``tracer``: continues the traces that messages carry. ``backpressure``: counts each call of the
    handler as in flight, and is waited for before each fetch.

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
        settings: ConsumerSettings | None = None,
        extend_interval: float = 10.0,
        silence_timeout: float | None = None,
        tracer: Tracer | None = None,
        backpressure: Backpressure | None = None,
    ) -> None:
        self._settings = settings = settings or ConsumerSettings()
        self.name = name
        self._stats = ConsumerStats()
        self._source = source
        self._log = log
        self._processor = BatchProcessor(
            handler, log, type=type, name=name, settings=settings, tracer=tracer,
            in_flight=backpressure,
        )  # fmt: skip
        self._max_in_hand = 2 * settings.concurrency * settings.batch
        self._extend_interval = extend_interval
        self._silence_timeout = silence_timeout or _MISSED_HEARTBEATS * settings.heartbeat
        self._backpressure = backpressure
        self._queues = KeyedQueues(settings.concurrency)
        self._in_hand: dict[Delivery, float] = {}
        self._settled = asyncio.Event()
        self._fetcher: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._last_fetch = 0.0
        self._answered = asyncio.Event()
        self._failure: Error | None = Error(Code.UNAVAILABLE, f"{name} has not started")

    @property
    def stats(self) -> ConsumerStats:
        """What it has done so far."""
        return replace(self._stats, calls=self._processor.calls)

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: what it has done so far."""
        yield StatsEntry("consumers", self.name, lambda: self.stats)

    async def start(self) -> None:
        """Begin to consume, and wait for the source's first answer, be it a failure.

        If that takes longer than ``start_timeout``, it goes on in the background.
        """
        if self._fetcher is not None:
            raise RuntimeError(f"{self.name} is started already")
        self._queues.open()
        self._fetcher = asyncio.create_task(self._fetch_forever(), name=f"{self.name} fetcher")
        self._tasks = [
            asyncio.create_task(self._work(number), name=f"{self.name} worker {number}")
            for number in range(self._queues.count)
        ]
        self._tasks.append(
            asyncio.create_task(self._extend_forever(), name=f"{self.name} extender")
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.start_timeout):
                await self._answered.wait()

    async def wait(self) -> None:
        """Wait until one of its tasks ends, which is a bug. Errors: the task's."""
        tasks = [*self._tasks, *([self._fetcher] if self._fetcher else [])]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def ready(self) -> None:
        """Succeed while messages are being consumed. Errors: UNAVAILABLE, with the reason."""
        if self._fetcher is None:
            raise Error(Code.UNAVAILABLE, f"{self.name} is not running")
        if self._failure is not None:
            raise Error(Code.UNAVAILABLE, self._failure.message) from self._failure
        if (reason := self._processor.blocked_by) is not None:
            raise Error(Code.UNAVAILABLE, f"{self.name} cannot handle anything") from reason
        silence = asyncio.get_running_loop().time() - self._last_fetch
        if silence > self._silence_timeout and len(self._in_hand) < self._max_in_hand:
            raise Error(Code.UNAVAILABLE, f"{self.name} gets no answer from the queue")

    async def stop(self) -> None:
        """Fetch no more, let the batches in hand end, and requeue everything else.

        What is requeued is delivered again at once and has not used up an attempt.
        Errors: ``Error(ABORTED)`` when a batch was cut off.
        """
        fetcher, self._fetcher = self._fetcher, None
        tasks, self._tasks = self._tasks, []
        if fetcher is None:
            return
        extender = tasks.pop()
        interrupted = False
        try:
            fetcher.cancel()
            await asyncio.wait([fetcher])
            self._queues.close()
            left, grace = remaining(), self._settings.stop_timeout
            grace = grace if left is None else min(grace, 0.8 * left)
            _, cut_off = await asyncio.wait(tasks, timeout=grace)
            interrupted = bool(cut_off)
        finally:
            for task in (fetcher, extender, *tasks):
                task.cancel()
            await asyncio.wait([fetcher, extender, *tasks], timeout=_REQUEUE_TIMEOUT)
            await self._requeue_all()
        if interrupted:
            raise Error(Code.ABORTED, f"{self.name} was cut off in the middle of a batch")

    async def _requeue_all(self) -> None:
        try:
            async with asyncio.timeout(_REQUEUE_TIMEOUT):
                await self._settle(
                    [Settlement(each, Disposition.REQUEUE) for each in self._in_hand]
                )
        except TimeoutError:
            pass  # the broker delivers them again by itself, later
        self._in_hand.clear()
        with suppress(Error):
            await self._source.close()

    async def _fetch_forever(self) -> None:
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            while (room := self._max_in_hand - len(self._in_hand)) < self._settings.batch:
                self._settled.clear()
                await self._settled.wait()
            if self._backpressure is not None:
                await self._backpressure.wait_for_capacity()
            try:
                deliveries = await self._source.fetch(room)
            except Error as exc:
                self._note_failure(exc)
                self._answered.set()
                await backoff.pause()
                continue
            backoff.reset()
            self._last_fetch = asyncio.get_running_loop().time()
            self._note_success()
            self._answered.set()
            for delivery in deliveries:
                self._in_hand[delivery] = self._last_fetch
                self._queues.add(delivery)

    def _note_failure(self, exc: Error) -> None:
        if self._failure is None or self._failure.message != exc.message:
            self._log.warning("consumer cannot fetch", consumer=self.name, error=exc)
        self._failure = exc

    def _note_success(self) -> None:
        if self._failure is not None:
            self._log.info("consuming", consumer=self.name)
        self._failure = None

    async def _extend_forever(self) -> None:
        half = self._extend_interval / 2
        while True:
            await asyncio.sleep(half)
            now = asyncio.get_running_loop().time()
            old = [each for each, since in self._in_hand.items() if now - since >= half]
            if old:
                with suppress(Error):  # the fetcher meets the same failure, and logs it
                    await self._source.extend(old)
                for each in old:
                    if each in self._in_hand:
                        self._in_hand[each] = now

    async def _work(self, number: int) -> None:
        while batch := await self._queues.take(number, self._batch_size):
            await self._settle(await self._processor.process(batch))
            for delivery in batch:
                self._in_hand.pop(delivery, None)
            self._settled.set()

    def _batch_size(self, delivery: Delivery) -> int:
        """How large its batch may be: smaller after a failure, and alone after the second."""
        most = self._settings.batch
        if delivery.deliveries > self._settings.policy.max_attempts:
            return 1
        if delivery.attempt == 1:
            return most
        return max(1, most // 16) if delivery.attempt == 2 else 1  # noqa: PLR2004 - the second

    async def _settle(self, settlements: Sequence[Settlement]) -> None:
        if not settlements:
            return
        log_failures(self._log, self.name, settlements)
        try:
            await self._source.settle(settlements)
        except Error as exc:
            self._log.warning("could not settle", consumer=self.name, error=exc)
            return
        count = dict.fromkeys(Disposition, 0)
        for settlement in settlements:
            count[settlement.disposition] += 1
        self._stats = replace(
            self._stats,
            acknowledged=self._stats.acknowledged + count[Disposition.ACK],
            retried=self._stats.retried + count[Disposition.RETRY],
            dead_lettered=self._stats.dead_lettered + count[Disposition.DEAD_LETTER],
            requeued=self._stats.requeued + count[Disposition.REQUEUE],
        )
