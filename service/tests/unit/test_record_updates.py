"""The feed on a log in memory: followers' queues, resync, joining, starting and stopping."""

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
class MemoryLog:
    """A log of changes, each final at once."""

    changes: list[Change] = field(default_factory=list[Change])
    floor: int = 0
    broken: bool = False
    reads: int = 0
    bells: int = 0
    bell: Wakeup = field(default_factory=Wakeup)

    def write(self, name: str = "a", *, before: str | None = None, size: int = 1) -> None:
        position = Position(len(self.changes) + 1, 7)
        text = encode_position(position)
        update = RecordUpdate(text, "replaced", uuid7(), len(self.changes) + 1, None, NOW)
        self.changes.append(Change(position, name, before, size, update))
        self.bell.set()

    async def now(self) -> Position:
        if self.broken:
            raise Error(Code.UNAVAILABLE, "broken")
        return Position(len(self.changes), 9)

    async def read(self, after: Position, limit: int) -> ChangePage:
        self.reads += 1
        now = await self.now()
        if after.settled < self.floor:
            return ChangePage([], now, more=False, gap=True)
        found = [change for change in self.changes if change.position > after][:limit]
        more = len(found) == limit
        return ChangePage(found, found[-1].position if more else now, more=more)

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator[Wakeup]:
        self.bells += 1
        try:
            yield self.bell
        finally:
            self.bells -= 1


@dataclass
class Fed:
    log: MemoryLog
    feed: RecordFeed
    told: RecordingLog


@asynccontextmanager
async def feeding(*, max_queued: int = 10, max_bytes: int = 1000, linger: float = 0.0, page: int = 3) -> AsyncGenerator[Fed]:  # fmt: skip
    log, told = MemoryLog(), RecordingLog()
    feed = RecordFeed(
        log, log.listen, ManualClock(), told, poll=0.01, page=page, linger=linger,
        max_queued=max_queued, max_bytes=max_bytes, max_subscribers=3,
    )  # fmt: skip
    await feed.start()
    try:
        yield Fed(log, feed, told)
    finally:
        await feed.stop()
    assert (feed.subscribers, log.bells) == (0, 0)


async def versions(updates: AsyncIterator[RecordUpdate], count: int) -> list[int | None]:
    return [update.version for update in await read_updates(updates, count)]


async def test_who_follows_is_told_of_what_comes_and_not_of_what_was() -> None:
    async with feeding() as fed:
        fed.log.write()
        async with fed.feed.subscribe("", None) as updates:
            for _ in range(5):
                fed.log.write()
            assert await versions(updates, 5) == [2, 3, 4, 5, 6]


async def test_a_prefix_chooses_by_the_name_now_and_before() -> None:
    async with feeding() as fed, fed.feed.subscribe("a", None) as updates:
        fed.log.write("ab")
        fed.log.write("b")
        fed.log.write("c", before="abc")
        fed.log.write("c", before="bc")
        fed.log.write("a")
        assert await versions(updates, 3) == [1, 3, 5]


@pytest.mark.parametrize("size", [1, 400], ids=["too many", "too large"])
async def test_a_slow_follower_loses_what_waits_and_is_told_once(size: int) -> None:
    async with feeding() as fed, fed.feed.subscribe("", None) as slow:
        async with fed.feed.subscribe("", None) as quick:
            for number in range(1, 26):
                fed.log.write(size=size)
                assert await versions(quick, 1) == [number]
        [resync] = await read_updates(slow, 1)
        assert resync.kind == "resync"
        async with fed.feed.subscribe("", resync.position) as resumed:
            after = await read_updates(resumed, 1)
        assert await read_updates(slow, 1) == after
        assert after[0].kind == "replaced"


async def test_resuming_goes_on_exactly_after_the_last_update_that_was_seen() -> None:
    async with feeding(max_queued=100) as fed:
        async with fed.feed.subscribe("", None) as updates:
            for _ in range(4):
                fed.log.write()
            seen = await read_updates(updates, 2)
        for _ in range(20):
            fed.log.write()
        async with fed.feed.subscribe("", seen[-1].position) as updates:
            assert await versions(updates, 10) == [*range(3, 13)]
            for _ in range(3):
                fed.log.write()
            assert await versions(updates, 15) == [*range(13, 28)]


async def test_a_position_that_is_not_kept_any_more_gives_a_resync_first() -> None:
    async with feeding() as fed:
        async with fed.feed.subscribe("", None) as updates:
            fed.log.write()
            [seen] = await read_updates(updates, 1)
        await wait_until(lambda: fed.log.bells == 0)
        fed.log.write()
        fed.log.floor = 2
        async with fed.feed.subscribe("", seen.position) as updates:
            fed.log.write()
            resync, new = await read_updates(updates, 2)
        assert (resync.kind, new.version) == ("resync", 3)


async def test_who_is_past_the_end_of_the_log_while_it_is_read_is_resynced() -> None:
    async with feeding() as fed, fed.feed.subscribe("", None) as updates:
        fed.log.write()
        fed.log.write()
        fed.log.floor = 2
        [resync] = await read_updates(updates, 1)
        assert resync.kind == "resync"


async def test_an_update_is_never_given_twice_to_who_read_ahead_of_the_common_task() -> None:
    async with feeding(max_queued=100) as fed, fed.feed.subscribe("", None) as first:
        start = encode_position(Position(0, 0))
        for number in range(1, 20):
            fed.log.write()
            async with fed.feed.subscribe("", start) as updates:
                assert await versions(updates, number) == [*range(1, number + 1)]
        assert await versions(first, 1) == [1]


async def test_a_broken_log_is_told_of_once_and_then_read_on() -> None:
    async with feeding() as fed, fed.feed.subscribe("", None) as updates:
        fed.log.broken = True
        before = fed.log.reads
        await wait_until(lambda: fed.log.reads > before + 3)
        fed.log.write()
        fed.log.broken = False
        assert await versions(updates, 1) == [1]
        assert fed.told.events("warning") == ["record changes cannot be read"]


async def test_without_its_log_nobody_can_begin_to_follow_and_later_they_can() -> None:
    async with feeding() as fed:
        fed.log.broken = True
        with pytest.raises(Error, match="broken"):
            async with fed.feed.subscribe("", None):
                pass
        fed.log.broken = False
        async with fed.feed.subscribe("", None) as updates:
            fed.log.write()
            assert await versions(updates, 1) == [1]


async def test_there_is_a_limit_to_followers() -> None:
    async with feeding() as fed, fed.feed.subscribe("", None), fed.feed.subscribe("", None):
        async with fed.feed.subscribe("", None):
            with pytest.raises(Error) as caught:
                async with fed.feed.subscribe("", None):
                    pass
            assert caught.value.code is Code.RESOURCE_EXHAUSTED
        async with fed.feed.subscribe("", None):
            assert fed.feed.subscribers == 3


async def test_what_is_no_position_is_refused() -> None:
    async with feeding() as fed:
        with pytest.raises(ValidationError):
            async with fed.feed.subscribe("", "rubbish"):
                pass


async def test_the_log_is_read_only_while_somebody_follows() -> None:
    async with feeding() as fed:
        for _ in range(3):
            async with fed.feed.subscribe("", None) as updates:
                fed.log.write()
                await read_updates(updates, 1)
                assert fed.log.bells == 1
            await wait_until(lambda: fed.log.bells == 0)
            reads = fed.log.reads
            fed.log.write()
            await asyncio.sleep(0.03)
            assert fed.log.reads == reads


async def test_a_stop_ends_every_stream_and_a_start_opens_again() -> None:
    async with feeding() as fed:
        async with fed.feed.subscribe("", None) as waiting:
            next_one = asyncio.create_task(anext(waiting, None))
            async with fed.feed.subscribe("", encode_position(Position(0, 0))) as idle:
                await asyncio.sleep(0)
                await fed.feed.stop()
                assert await next_one is None
                assert [update async for update in idle] == []
        with pytest.raises(Error) as caught:
            async with fed.feed.subscribe("", None):
                pass
        assert caught.value.code is Code.UNAVAILABLE
        await fed.feed.start()
        async with fed.feed.subscribe("", None) as updates:
            fed.log.write()
            assert await versions(updates, 1) == [1]


async def test_stopping_before_starting_and_twice_is_fine() -> None:
    log = MemoryLog()
    feed = RecordFeed(log, log.listen, ManualClock(), RecordingLog())
    await feed.stop()
    await feed.start()
    await feed.stop()
    await feed.stop()


async def test_a_follower_that_is_cancelled_leaves_nothing_behind() -> None:
    async with feeding() as fed:

        async def follow() -> None:
            async with fed.feed.subscribe("a", None) as updates:
                await read_updates(updates, 1)

        tasks = [asyncio.create_task(follow()) for _ in range(3)]
        await wait_until(lambda: fed.feed.subscribers == 3)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert fed.feed.subscribers == 0
