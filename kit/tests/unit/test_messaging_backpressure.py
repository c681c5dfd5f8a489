"""A consumer in a loaded process: what it handles counts as in flight, and it slows its fetching."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from consuming import RecordingHandler, Thing, consuming
from memory_source import MemorySource

from paceline.clock import SystemClock
from paceline.messaging import Consumer, ConsumerSettings, Delivery, Incoming, Message
from paceline.resilience import Admission, LoadShedder, Priority
from paceline.testing import ManualClock, RecordingLog

LAG = 0.05


@dataclass
class WatchedSource(MemorySource):
    """Notes what is fetched."""

    fetched: list[str] = field(default_factory=list[str])

    async def fetch(self, limit: int) -> Sequence[Delivery]:
        deliveries = await super().fetch(limit)
        self.fetched += [each.id for each in deliveries]
        return deliveries

    async def put(self, *names: str) -> None:
        for name in names:
            await self.publish(Message("things.made", b'{"n": 1}', name))


class HeldHandler(RecordingHandler):
    """Handles nothing until it is released."""

    def __init__(self) -> None:
        super().__init__(before=self._wait)
        self.entered, self.released = asyncio.Event(), asyncio.Event()

    async def _wait(self, items: Sequence[Incoming[Thing]]) -> None:
        del items
        self.entered.set()
        await self.released.wait()


@asynccontextmanager
async def running(
    source: WatchedSource, handler: RecordingHandler, shedder: LoadShedder, *, batch: int = 64
) -> AsyncGenerator[Consumer[Thing]]:
    consumer = Consumer(
        source, handler, RecordingLog(), type=Thing, backpressure=shedder,
        settings=ConsumerSettings(batch=batch, concurrency=1, start_timeout=0.01),
    )  # fmt: skip
    try:
        async with consuming(consumer):
            yield consumer
    finally:
        source.cancel_timers()


def shedder_of(*, max_in_flight: int = 100) -> LoadShedder:
    """One that is adjusted by hand, and has just seen an idle process."""
    return LoadShedder(ManualClock(), RecordingLog(), max_in_flight=max_in_flight, target_delay=LAG)


async def let_everything_run() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


async def test_a_batch_counts_as_one_in_flight_while_it_is_handled() -> None:
    source, handler, shedder = WatchedSource(), HeldHandler(), shedder_of()
    await source.put(*(f"m{n}" for n in range(20)))
    async with running(source, handler, shedder):
        await handler.entered.wait()
        assert len(handler.seen) == 20
        assert shedder.stats.in_flight == 1
        handler.released.set()
        await handler.until(lambda: len(handler.done) == 20)
        await let_everything_run()
        assert shedder.stats.in_flight == 0


async def test_batches_do_not_push_requests_out_however_long_they_take() -> None:
    clock = ManualClock()
    shedder = LoadShedder(clock, RecordingLog(), max_in_flight=100, target_delay=LAG)
    requests = Admission(shedder, "test")
    for _ in range(20):
        batches = [shedder.admit_background() for _ in range(8)]
        admitted = [requests.admit(Priority.READ) for _ in range(40)]
        clock.advance(0.01)
        for permit in admitted:
            assert permit is not None
            permit.release()
        clock.advance(60.0)
        for batch in batches:
            batch.release()
        shedder.adjust(0.0)
    assert shedder.stats.limit == 100
    assert shedder.stats.delay_seconds == pytest.approx(0.01)


async def test_a_loaded_worker_fetches_no_more_until_its_batch_is_done() -> None:
    source, handler, shedder = WatchedSource(), HeldHandler(), shedder_of(max_in_flight=1)
    await source.put("m1")
    async with running(source, handler, shedder):
        await handler.entered.wait()
        shedder.adjust(0.0)
        await source.put("m2")  # for the fetch that was under way
        await let_everything_run()
        await source.put("m3")
        await let_everything_run()
        assert source.fetched == ["m1", "m2"]
        handler.released.set()
        await handler.until(lambda: handler.done == ["m1", "m2"])
        await let_everything_run()
        shedder.adjust(0.0)
        await handler.until(lambda: "m3" in handler.done)


async def test_a_worker_whose_event_loop_lags_fetches_no_more_until_it_has_caught_up() -> None:
    source, handler, shedder = WatchedSource(), RecordingHandler(), shedder_of()
    shedder.adjust(2 * LAG)
    await source.put("m1")
    async with running(source, handler, shedder) as consumer:
        await let_everything_run()
        assert source.fetched == []
        shedder.adjust(LAG / 2)
        await handler.until(lambda: handler.done == ["m1"])
        shedder.adjust(2 * LAG)
        await source.put("m2")
        await let_everything_run()
        await source.put("m3")
        await let_everything_run()
        assert source.fetched == ["m1", "m2"]
        await consumer.stop()  # does not wait for capacity


async def test_a_worker_that_blocks_its_event_loop_fetches_between_the_blocks_only() -> None:
    shedder = LoadShedder(
        SystemClock(), RecordingLog(), max_in_flight=100, target_delay=LAG / 10, interval=LAG / 10
    )
    lags: list[float] = []

    class LagSource(WatchedSource):
        async def fetch(self, limit: int) -> Sequence[Delivery]:
            lags.append(shedder.stats.lag_seconds)
            return await super().fetch(limit)

    async def block(items: Sequence[Incoming[Thing]]) -> None:
        del items
        until = time.perf_counter() + LAG
        while time.perf_counter() < until:
            pass

    source, handler = LagSource(), RecordingHandler(before=block)
    await source.put(*(f"m{n}" for n in range(12)))
    await shedder.start()
    async with running(source, handler, shedder, batch=2):
        await handler.until(lambda: len(handler.done) == 12)
    await shedder.stop()
    assert len(lags) > 2
    assert max(lags) <= LAG / 10
