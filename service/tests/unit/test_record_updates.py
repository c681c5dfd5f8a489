"""The feed on a change log in memory: queues, resync, resuming, starting and stopping."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from record_replicas import read_updates, wait_until

from myservice.domain.record_updates import Position, RecordUpdate
from myservice.service.record_updates import (
    Change,
    ChangePage,
    RecordFeed,
    encode_position,
)
from paceline.errors import Code, Error, ValidationError
from paceline.postgres import Wakeup, uuid7
from paceline.testing import ManualClock, RecordingLog

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class MemoryChangeLog:
    """Implements ``ChangeLog``; each change is final at once."""

    changes: list[Change] = field(default_factory=list[Change])
    floor: int = 0
    broken: bool = False
    reads: int = 0
    listeners: int = 0
    wakeup: Wakeup = field(default_factory=Wakeup)

    def write(self, name: str = "a", *, before: str | None = None, size: int = 1) -> None:
        position = Position(len(self.changes) + 1, 7)
        text = encode_position(position)
        update = RecordUpdate(text, "replaced", uuid7(), len(self.changes) + 1, None, NOW)
        self.changes.append(Change(position, name, before, size, update))
        self.wakeup.set()

    async def now(self) -> Position:
        if self.broken:
            raise Error(Code.UNAVAILABLE, "broken")
        return Position(len(self.changes), 9)

    async def read(self, after: Position, limit: int, max_bytes: int) -> ChangePage:
        self.reads += 1
        now = await self.now()
        if after.settled < self.floor:
            return ChangePage([], now, more=False, gap=True)
        found = [change for change in self.changes if change.position > after][:limit]
        before = [sum(change.size for change in found[:place]) for place in range(len(found))]
        page = [change for change, size in zip(found, before, strict=True) if size < max_bytes]
        found, cut = page, len(page) < len(found)
        more = cut or len(found) == limit
        return ChangePage(found, found[-1].position if more else now, more=more)

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator[Wakeup]:
        self.listeners += 1
        try:
            yield self.wakeup
        finally:
            self.listeners -= 1


@dataclass
class RunningFeed:
    changes: MemoryChangeLog
    feed: RecordFeed
    log: RecordingLog


@asynccontextmanager
async def running_feed(*, max_queued: int = 10, max_bytes: int = 1000, linger: float = 0.0, page: int = 3, max_held: int = 10**6, max_per_caller: int = 9) -> AsyncGenerator[RunningFeed]:  # fmt: skip
    changes, log = MemoryChangeLog(), RecordingLog()
    feed = RecordFeed(
        changes, changes.listen, ManualClock(), log, poll=0.01, page=page, linger=linger,
        max_queued=max_queued, max_bytes=max_bytes, max_subscribers=3,
        max_held=max_held, max_per_caller=max_per_caller,
    )  # fmt: skip
    await feed.start()
    try:
        yield RunningFeed(changes, feed, log)
    finally:
        await feed.stop()
    assert (feed.subscribers, feed.held_bytes, changes.listeners) == (0, 0, 0)


async def versions(updates: AsyncIterator[RecordUpdate], count: int) -> list[int | None]:
    return [update.version for update in await read_updates(updates, count)]


async def test_a_subscriber_receives_later_changes_and_not_earlier_ones() -> None:
    async with running_feed() as running:
        running.changes.write()
        async with running.feed.subscribe("", None) as updates:
            for _ in range(5):
                running.changes.write()
            assert await versions(updates, 5) == [2, 3, 4, 5, 6]


async def test_a_prefix_chooses_by_the_name_now_and_before() -> None:
    async with running_feed() as running, running.feed.subscribe("a", None) as updates:
        running.changes.write("ab")
        running.changes.write("b")
        running.changes.write("c", before="abc")
        running.changes.write("c", before="bc")
        running.changes.write("a")
        assert await versions(updates, 3) == [1, 3, 5]


@pytest.mark.parametrize("size", [1, 400], ids=["too many", "too large"])
async def test_a_slow_subscriber_loses_its_queue_and_gets_one_resync(size: int) -> None:
    async with running_feed() as running, running.feed.subscribe("", None) as slow:
        async with running.feed.subscribe("", None) as quick:
            for number in range(1, 26):
                running.changes.write(size=size)
                assert await versions(quick, 1) == [number]
        [resync] = await read_updates(slow, 1)
        assert resync.kind == "resync"
        async with running.feed.subscribe("", resync.position) as resumed:
            after = await read_updates(resumed, 1)
        assert await read_updates(slow, 1) == after
        assert after[0].kind == "replaced"


async def test_resuming_continues_exactly_after_the_last_update_that_was_seen() -> None:
    async with running_feed(max_queued=100) as running:
        async with running.feed.subscribe("", None) as updates:
            for _ in range(4):
                running.changes.write()
            seen = await read_updates(updates, 2)
        for _ in range(20):
            running.changes.write()
        async with running.feed.subscribe("", seen[-1].position) as updates:
            assert await versions(updates, 10) == [*range(3, 13)]
            for _ in range(3):
                running.changes.write()
            assert await versions(updates, 15) == [*range(13, 28)]


async def test_a_position_that_is_no_longer_kept_gives_a_resync_first() -> None:
    async with running_feed() as running:
        async with running.feed.subscribe("", None) as updates:
            running.changes.write()
            [seen] = await read_updates(updates, 1)
        await wait_until(lambda: running.changes.listeners == 0)
        running.changes.write()
        running.changes.floor = 2
        async with running.feed.subscribe("", seen.position) as updates:
            running.changes.write()
            resync, new = await read_updates(updates, 2)
        assert (resync.kind, new.version) == ("resync", 3)


async def test_changes_that_are_trimmed_before_they_are_read_give_a_resync() -> None:
    async with running_feed() as running, running.feed.subscribe("", None) as updates:
        running.changes.write()
        running.changes.write()
        running.changes.floor = 2
        [resync] = await read_updates(updates, 1)
        assert resync.kind == "resync"


async def test_a_subscriber_that_read_ahead_of_the_reading_task_gets_no_update_twice() -> None:
    async with running_feed(max_queued=100) as running, running.feed.subscribe("", None) as first:
        start = encode_position(Position(0, 0))
        for number in range(1, 20):
            running.changes.write()
            async with running.feed.subscribe("", start) as updates:
                assert await versions(updates, number) == [*range(1, number + 1)]
        assert await versions(first, 1) == [1]


async def test_a_failing_log_is_reported_once_and_read_on_later() -> None:
    async with running_feed() as running, running.feed.subscribe("", None) as updates:
        running.changes.broken = True
        before = running.changes.reads
        await wait_until(lambda: running.changes.reads > before + 3)
        running.changes.write()
        running.changes.broken = False
        assert await versions(updates, 1) == [1]
        assert running.log.events("warning") == ["record changes cannot be read"]


async def test_subscribing_fails_while_the_log_does_and_succeeds_later() -> None:
    async with running_feed() as running:
        running.changes.broken = True
        with pytest.raises(Error, match="broken"):
            async with running.feed.subscribe("", None):
                pass
        running.changes.broken = False
        async with running.feed.subscribe("", None) as updates:
            running.changes.write()
            assert await versions(updates, 1) == [1]


async def test_a_caller_has_so_many_streams_and_no_more() -> None:
    async with running_feed(max_per_caller=1) as running:
        for _ in range(2):
            async with running.feed.subscribe("", None, "ada"):
                with pytest.raises(Error) as caught:
                    async with running.feed.subscribe("", None, "ada"):
                        pass
                assert caught.value.code is Code.RESOURCE_EXHAUSTED
                async with running.feed.subscribe("", None, "bob"):
                    pass


async def test_what_slow_subscribers_hold_is_bounded_and_nothing_is_missed() -> None:
    start = encode_position(Position(0, 0))
    async with running_feed(page=100, max_held=10_000) as running:
        for _ in range(50):
            running.changes.write(size=1_000)
        async with (
            running.feed.subscribe("", start) as one,
            running.feed.subscribe("", start) as two,
            running.feed.subscribe("", start) as three,
        ):
            for number in range(1, 51):
                for each in (one, two, three):
                    assert await versions(each, 1) == [number]
                    assert running.feed.held_bytes <= 5_000 + 3 * 1_000


async def test_nobody_else_may_subscribe_while_all_together_hold_too_much() -> None:
    start = encode_position(Position(0, 0))
    async with running_feed(max_held=1_000) as running:
        running.changes.write(size=1_000)
        async with running.feed.subscribe("", start) as one:
            assert await versions(one, 1) == [1]
            with pytest.raises(Error) as caught:
                async with running.feed.subscribe("", None):
                    pass
            assert caught.value.code is Code.RESOURCE_EXHAUSTED
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await anext(one)
            async with running.feed.subscribe("", None):
                pass


async def test_an_update_that_many_hold_counts_once_and_until_the_next_one_is_read() -> None:
    async with (
        running_feed() as running,
        running.feed.subscribe("", None) as one,
        running.feed.subscribe("", None) as two,
    ):
        running.changes.write(size=100)
        assert await versions(one, 1) == await versions(two, 1) == [1]
        assert running.feed.held_bytes == 100
        running.changes.write(size=10)
        assert await versions(one, 1) == [2]
        assert running.feed.held_bytes == 110
        assert await versions(two, 1) == [2]
        assert running.feed.held_bytes == 10


async def test_a_slow_live_subscriber_gets_a_resync_when_all_together_hold_too_much() -> None:
    async with (
        running_feed(max_held=600) as running,
        running.feed.subscribe("", None) as slow,
        running.feed.subscribe("", None) as quick,
    ):
        for number in range(1, 9):
            running.changes.write(size=100)
            assert await versions(quick, 1) == [number]
        [resync] = await read_updates(slow, 1)
        assert resync.kind == "resync"


async def test_the_number_of_subscribers_is_limited() -> None:
    async with (
        running_feed() as running,
        running.feed.subscribe("", None),
        running.feed.subscribe("", None),
    ):
        async with running.feed.subscribe("", None):
            with pytest.raises(Error) as caught:
                async with running.feed.subscribe("", None):
                    pass
            assert caught.value.code is Code.RESOURCE_EXHAUSTED
        async with running.feed.subscribe("", None):
            assert running.feed.subscribers == 3


async def test_an_invalid_position_is_refused() -> None:
    async with running_feed() as running:
        with pytest.raises(ValidationError):
            async with running.feed.subscribe("", "rubbish"):
                pass


async def test_the_log_is_read_only_while_there_are_subscribers() -> None:
    async with running_feed() as running:
        for _ in range(3):
            async with running.feed.subscribe("", None) as updates:
                running.changes.write()
                await read_updates(updates, 1)
                assert running.changes.listeners == 1
            await wait_until(lambda: running.changes.listeners == 0)
            reads = running.changes.reads
            running.changes.write()
            await asyncio.sleep(0.03)
            assert running.changes.reads == reads


async def test_a_stop_ends_every_stream_and_a_start_accepts_subscribers_again() -> None:
    async with running_feed() as running:
        async with running.feed.subscribe("", None) as waiting:
            next_one = asyncio.create_task(anext(waiting, None))
            async with running.feed.subscribe("", encode_position(Position(0, 0))) as idle:
                await asyncio.sleep(0)
                await running.feed.stop()
                assert await next_one is None
                assert [update async for update in idle] == []
        with pytest.raises(Error) as caught:
            async with running.feed.subscribe("", None):
                pass
        assert caught.value.code is Code.UNAVAILABLE
        await running.feed.start()
        async with running.feed.subscribe("", None) as updates:
            running.changes.write()
            assert await versions(updates, 1) == [1]


async def test_stopping_before_starting_and_twice_is_fine() -> None:
    changes = MemoryChangeLog()
    feed = RecordFeed(changes, changes.listen, ManualClock(), RecordingLog())
    await feed.stop()
    await feed.start()
    await feed.stop()
    await feed.stop()


async def test_a_cancelled_subscriber_leaves_nothing_behind() -> None:
    async with running_feed() as running:

        async def subscribe() -> None:
            async with running.feed.subscribe("a", None) as updates:
                await read_updates(updates, 1)

        tasks = [asyncio.create_task(subscribe()) for _ in range(3)]
        await wait_until(lambda: running.feed.subscribers == 3)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert running.feed.subscribers == 0
