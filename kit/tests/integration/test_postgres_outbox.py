"""The outbox and its relay on a real PostgreSQL, with a queue that works and ones that fail."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest
from pg_sessions import started

from paceline.errors import Code, Error
from paceline.messaging import Message
from paceline.postgres import Pool, PoolSettings
from paceline.postgres.outbox import OUTBOX_SCHEMA, OutboxRelay, OutboxStats, enqueue
from paceline.postgres.outbox.relay import PollResult
from paceline.testing import FakeQueue, RecordingLog, monitor_sessions
from paceline.testing.cancel import cancel_at_every_await

pytestmark = pytest.mark.integration


@pytest.fixture
async def pool(database: str) -> AsyncGenerator[Pool]:
    async with started(Pool(database, PoolSettings(max_size=4, min_size=0))) as pool:
        await pool.execute(OUTBOX_SCHEMA)
        yield pool


@asynccontextmanager
async def running(relay: OutboxRelay) -> AsyncGenerator[OutboxRelay]:
    await relay.start()
    try:
        yield relay
    finally:
        await relay.stop()


async def write(pool: Pool, *messages: Message) -> None:
    async with pool.transaction() as tx:
        await enqueue(tx, messages)


def named(*ids: str, key: str = "") -> Sequence[Message]:
    return [Message("things.made", one.encode(), one, key) for one in ids]


async def emptied(pool: Pool, *, down_to: int = 0) -> None:
    """Wait until the table is empty, or so far: what was sent is committed as sent then."""
    async with asyncio.timeout(20):
        while await pool.fetchval("SELECT count(*) FROM outbox") > down_to:  # noqa: ASYNC110 - in the server
            await asyncio.sleep(0.005)


async def test_what_was_committed_is_sent_in_order_and_what_was_not_never(pool: Pool) -> None:
    queue = FakeQueue()
    await write(pool, *named("a", "b"))
    with pytest.raises(KeyError):
        async with pool.transaction() as tx:
            await enqueue(tx, named("never"))
            raise KeyError
    await write(pool)
    await write(pool, *named("c"))
    async with running(OutboxRelay(pool, queue, RecordingLog(), batch=2)):
        await emptied(pool)
    assert queue.ids == ["a", "b", "c"]


async def test_a_message_arrives_as_it_was_written(pool: Pool) -> None:
    queue = FakeQueue()
    odd = Message("a.b", bytes(range(256)), "é🚲", "k y", {"traceparent": "00-1", "x": '"\\'})
    plain = Message("a", b"", "2")
    await write(pool, odd, plain)
    async with running(OutboxRelay(pool, queue, RecordingLog())):
        await emptied(pool)
    assert [*queue.held.values()] == [odd, plain]


async def test_what_the_table_cannot_hold_is_refused_when_it_is_written(pool: Pool) -> None:
    with pytest.raises(Error) as caught:
        await write(pool, Message("a\0b", b"", "1"))
    assert caught.value.code is Code.INVALID_ARGUMENT


async def test_a_relay_that_is_woken_does_not_wait_for_its_next_poll(pool: Pool) -> None:
    queue = FakeQueue()
    async with running(OutboxRelay(pool, queue, RecordingLog(), poll_interval=3600.0)) as relay:
        for turn in ("a", "b", "c"):
            await write(pool, *named(turn))
            relay.wake()
            await queue.holds(turn)


async def test_a_relay_that_is_not_woken_finds_messages_at_its_next_poll(pool: Pool) -> None:
    queue = FakeQueue()
    async with running(OutboxRelay(pool, queue, RecordingLog(), poll_interval=0.01)):
        await write(pool, *named("a"))
        await queue.holds("a")


async def test_one_relay_sends_at_a_time_and_another_takes_over_when_it_is_gone(
    pool: Pool,
) -> None:
    hanging = FakeQueue(before=asyncio.Event().wait)  # type: ignore[arg-type] # the value is dropped
    working = FakeQueue()
    await write(pool, *named("a"))
    first = OutboxRelay(pool, hanging, RecordingLog(), publish_timeout=30.0, stop_timeout=0.01)
    async with running(first):
        await hanging.until(lambda: hanging.calls == 1)
        second = OutboxRelay(pool, working, RecordingLog(), poll_interval=0.01)
        second.wake()
        assert await second.poll() is PollResult.LOCKED
        async with running(second):
            await first.stop()
            await working.until(lambda: working.ids == ["a"])


async def test_a_message_that_cannot_be_sent_delays_its_key_and_nothing_else(pool: Pool) -> None:
    log, bad = RecordingLog(), {"a1"}
    too_large = Error(Code.INVALID_ARGUMENT, "too large")
    queue = FakeQueue(lambda message: too_large if message.id in bad else None)
    await write(pool, *named("a1", "a2", key="a"), *named("b1", key="b"), *named("x"))
    settings = {"batch": 2, "poll_interval": 0.005, "retry_delay": 0.02, "max_retry_delay": 0.04}
    async with running(OutboxRelay(pool, queue, log, **settings)) as relay:  # type: ignore[arg-type] # all are numbers
        await queue.until(lambda: len(queue.held) == 2)
        calls = queue.calls
        await write(pool, *named("a3", key="a"), *named("y"))
        await queue.until(lambda: "y" in queue.held and queue.calls > calls + 3)
        assert queue.ids == ["b1", "x", "y"]
        await emptied(pool, down_to=3)
        stats = await relay.stats()
        assert (stats.waiting, stats.failing) == (3, 1)
        assert stats.oldest > 0
        bad.clear()
        await emptied(pool)
        assert await relay.stats() == OutboxStats(0, 0, 0.0)
    assert queue.ids == ["b1", "x", "y", "a1", "a2", "a3"]
    assert log.events("error") == ["outbox messages could not be sent"]


async def test_more_bad_messages_than_a_batch_holds_do_not_stop_the_good_ones(pool: Pool) -> None:
    bad = Error(Code.FAILED_PRECONDITION, "no")
    queue = FakeQueue(lambda message: bad if message.id.startswith("bad") else None)
    await write(pool, *named(*(f"bad{number}" for number in range(10))), *named("good"))
    relay = OutboxRelay(pool, queue, RecordingLog(), batch=3, poll_interval=0.01, retry_delay=30.0)
    async with running(relay):
        await queue.until(lambda: queue.ids == ["good"])


async def test_while_the_queue_is_down_rows_stay_as_they_are_and_it_is_logged_once(
    pool: Pool,
) -> None:
    down: list[Error] = [Error(Code.UNAVAILABLE, "no connection")]
    log, queue = RecordingLog(), FakeQueue(lambda _: down[0] if down else None)
    ids = [str(number) for number in range(20)]
    await write(pool, *named(*ids))
    relay = OutboxRelay(pool, queue, log, batch=4, max_pause=0.01)
    async with running(relay):
        await queue.until(lambda: queue.calls > 5)
        assert await pool.fetchval("SELECT sum(attempts) FROM outbox") == 0
        with pytest.raises(Error, match="the queue takes no messages"):
            await relay.ready()
        down.clear()
        await emptied(pool)
    await relay.ready()
    assert queue.ids == ids
    assert log.events("error") == ["the outbox cannot be sent"]
    assert log.events("info") == ["outbox messages are sent again"]


async def test_a_queue_that_hangs_is_tried_again_after_the_timeout(pool: Pool) -> None:
    hangs = [True, True, False]

    async def hang() -> None:
        if hangs.pop(0) if hangs else False:
            await asyncio.Event().wait()

    queue = FakeQueue(after=hang)  # it takes the messages and does not acknowledge them
    await write(pool, *named("a", "b"))
    relay = OutboxRelay(pool, queue, RecordingLog(), publish_timeout=0.05, max_pause=0.01)
    async with running(relay):
        await emptied(pool)
    assert (queue.ids, queue.duplicates) == (["a", "b"], 4)


async def test_a_process_that_dies_before_its_commit_leaves_the_same_messages_to_be_sent_again(
    pool: Pool, database: str
) -> None:
    async with monitor_sessions(database) as monitor:
        deaths = 3

        async def die() -> None:
            nonlocal deaths
            deaths -= 1
            if deaths >= 0:
                await monitor.terminate_all()

        queue = FakeQueue(after=die)
        await write(pool, *named("a", "b", key="k"))
        log = RecordingLog()
        async with running(OutboxRelay(pool, queue, log, max_pause=0.01)):
            await queue.until(lambda: queue.calls >= 5)
            await emptied(pool)
    assert (queue.ids, queue.duplicates > 0) == (["a", "b"], True)


async def test_a_relay_survives_a_database_that_ends_its_sessions(
    pool: Pool, database: str
) -> None:
    queue, log = FakeQueue(), RecordingLog()
    async with (
        monitor_sessions(database) as monitor,
        running(OutboxRelay(pool, queue, log, poll_interval=0.005)),
    ):
        for turn in range(10):
            await monitor.terminate_all()
            async with asyncio.timeout(10):
                while True:
                    try:
                        await write(pool, *named(str(turn)))
                        break
                    except Error:
                        continue
            await queue.holds(str(turn))
        await emptied(pool)
    assert queue.ids == [str(turn) for turn in range(10)]


async def test_it_starts_and_stops_again_and_again(pool: Pool) -> None:
    queue = FakeQueue()
    relay = OutboxRelay(pool, queue, RecordingLog(), poll_interval=0.001)
    await relay.stop()
    for turn in range(20):
        await write(pool, *named(str(turn)))
        await relay.start()
        with pytest.raises(RuntimeError):
            await relay.start()
        if turn % 2:
            await emptied(pool)
        await relay.stop()
        await relay.stop()
    await relay.start()
    await emptied(pool)
    await relay.stop()
    assert queue.ids == [str(turn) for turn in range(20)]
    assert pool.in_use == 0


async def test_enqueueing_is_cancelled_anywhere_whole_or_not_at_all(pool: Pool) -> None:
    written = 0

    async def work() -> None:
        await write(pool, *named("a", "b"))

    async def check() -> None:
        nonlocal written
        now: int = await pool.fetchval("SELECT count(*) FROM outbox")
        assert now in (written, written + 2)
        written = now

    assert await cancel_at_every_await(work, check) >= 3
