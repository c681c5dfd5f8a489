"""The inbox on a real PostgreSQL: one effect for each message, however often it is delivered."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from pg_sessions import started

from paceline.errors import Code, Error
from paceline.postgres import Pool, PoolSettings
from paceline.postgres.inbox import INBOX_SCHEMA, InboxCleaner, claim
from paceline.testing import RecordingLog, monitor_sessions
from paceline.testing.cancel import cancel_at_every_await

pytestmark = pytest.mark.integration

CONSUMER = "worker"


@pytest.fixture
async def pool(database: str) -> AsyncGenerator[Pool]:
    async with started(Pool(database, PoolSettings(max_size=4, min_size=0))) as pool:
        await pool.execute(INBOX_SCHEMA)
        await pool.execute("CREATE TABLE effects (id text NOT NULL)")
        yield pool


async def handle(pool: Pool, *ids: str, consumer: str = CONSUMER) -> set[str]:
    """The effect and the claim in one transaction."""
    async with pool.transaction() as tx:
        new = await claim(tx, consumer, ids)
        await tx.execute("INSERT INTO effects SELECT * FROM unnest($1::text[])", sorted(new))
    return new


async def effects(pool: Pool) -> list[str]:
    return [row["id"] for row in await pool.fetch("SELECT id FROM effects ORDER BY id")]


async def test_an_id_is_new_once_for_each_consumer(pool: Pool) -> None:
    assert await handle(pool, "b", "a", "b") == {"a", "b"}
    assert await handle(pool, "c", "a") == {"c"}
    assert await handle(pool, "a") == set()
    assert await handle(pool) == set()
    assert await handle(pool, "a", consumer="another") == {"a"}


async def test_a_transaction_that_fails_leaves_its_messages_new(pool: Pool) -> None:
    with pytest.raises(KeyError):
        async with pool.transaction() as tx:
            assert await claim(tx, CONSUMER, ["a"]) == {"a"}
            raise KeyError("the effect")
    assert await handle(pool, "a") == {"a"}


async def test_two_workers_with_the_same_messages_at_once_share_them_without_deadlock(
    pool: Pool, database: str
) -> None:
    ids = [str(number) for number in range(200)]
    for turn in range(10):
        batch = [f"{turn}-{each}" for each in ids]
        found = await asyncio.gather(
            handle(pool, *batch), handle(pool, *reversed(batch)), handle(pool, *batch[50:])
        )
        assert sum(map(len, found)) == len(batch)
        assert set().union(*found) == set(batch)
    assert len(await effects(pool)) == 2000
    async with monitor_sessions(database) as monitor:
        assert await monitor.deadlocks() == 0


async def test_cancelled_anywhere_the_effect_and_the_claim_are_both_there_or_neither(
    pool: Pool,
) -> None:
    turn = 0

    async def work() -> None:
        await handle(pool, f"{turn:04}")

    async def check() -> None:
        nonlocal turn
        await handle(pool, f"{turn:04}")
        turn += 1
        assert await effects(pool) == [f"{number:04}" for number in range(turn)]

    assert await cancel_at_every_await(work, check) >= 4


@pytest.mark.parametrize(
    "bad",
    ["", "x" * 256, "a\0b", "line\nend", "\ud800"],
    ids=["empty", "long", "nul", "line", "surrogate"],
)
async def test_an_id_that_cannot_be_stored_is_refused(pool: Pool, bad: str) -> None:
    with pytest.raises(Error) as caught:
        await handle(pool, "fine", bad)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert await handle(pool, "fine", "ä" * 255) == {"fine", "ä" * 255}


async def test_old_ids_are_deleted_and_the_others_are_not(pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO inbox SELECT $1, n::text, now() - interval '1 hour'"
        " FROM generate_series(1, 100000) AS n",
        CONSUMER,
    )
    await handle(pool, "fresh")
    cleaners = [InboxCleaner(pool, RecordingLog(), keep=60.0) for _ in range(2)]
    assert sum(await asyncio.gather(*(cleaner.clean() for cleaner in cleaners))) == 100000
    assert await handle(pool, "fresh", "1") == {"1"}


async def test_a_cleaner_starts_and_stops_again_and_goes_on_after_a_failure(pool: Pool) -> None:
    log = RecordingLog()
    cleaner = InboxCleaner(pool, log, keep=0.0, interval=0.001)
    await cleaner.stop()
    for _ in range(2):
        await cleaner.start()
        await pool.execute("ALTER TABLE inbox RENAME TO gone")
        async with asyncio.timeout(10):
            while not log.events("error"):  # noqa: ASYNC110 - what is waited for is in the log
                await asyncio.sleep(0.001)
        await pool.execute("ALTER TABLE gone RENAME TO inbox")
        await handle(pool, "a")
        async with asyncio.timeout(10):
            while await pool.fetchval("SELECT count(*) FROM inbox"):  # noqa: ASYNC110 - in the server
                await asyncio.sleep(0.001)
        await cleaner.stop()
        await cleaner.stop()
        log.lines.clear()
