"""Several relays, a queue that fails in every way, sessions that are killed: order and no loss.

Each key has a row that its writers lock, as changes of one thing do, and they number what they
write. Whatever fails, the queue must end up with all numbers of each key, in order.
"""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import LiteralString

import pytest
from pg_sessions import started

from paceline.errors import Code, Error
from paceline.lifecycle import Lifecycle
from paceline.messaging import Message
from paceline.postgres import Pool, PoolSettings
from paceline.postgres.outbox import OUTBOX_SCHEMA, OutboxRelay, enqueue
from paceline.testing import FakeQueue, RecordingLog, SessionMonitor, monitor_sessions

pytestmark = pytest.mark.integration

KEYS, WRITERS, TURNS, RELAYS = 6, 8, 40, 3


@pytest.fixture
async def pool(database: str) -> AsyncGenerator[Pool]:
    async with started(Pool(database, PoolSettings(max_size=WRITERS, min_size=1))) as pool:
        await pool.execute(OUTBOX_SCHEMA)
        await pool.execute("CREATE TABLE things (id int PRIMARY KEY, version int NOT NULL)")
        await pool.execute("INSERT INTO things SELECT n, 0 FROM generate_series(1, $1) AS n", KEYS)
        yield pool


async def change(pool: Pool, thing: int) -> None:
    """A new version of a thing, and two messages that announce it."""
    async with pool.transaction() as tx:
        version = await tx.fetchval(
            "UPDATE things SET version = version + 1 WHERE id = $1 RETURNING version", thing
        )
        await asyncio.sleep(0)
        name = f"{thing}:{version}"
        await enqueue(tx, [Message("t", b"", f"{name}:{part}", f"k{thing}") for part in "ab"])


async def fetch_until_it_works(pool: Pool, sql: LiteralString, *args: object) -> int:
    """Repeat a statement whose session was killed."""
    while True:
        try:
            found: int = await pool.fetchval(sql, *args)
        except Error:
            continue
        return found


class Faults:
    """Draws what fails next, until ``over`` is set."""

    def __init__(self, seed: int, monitor: SessionMonitor) -> None:
        self._draw = random.Random(seed)  # noqa: S311 - reproducible
        self._monitor = monitor
        self.over = False

    def fault(self, message: Message) -> Exception | None:
        if self.over or self._draw.random() > 0.05:
            return None
        code = self._draw.choice([Code.UNAVAILABLE, Code.INVALID_ARGUMENT])
        return Error(code, f"not {message.id}")

    async def interfere(self) -> None:
        """Before the queue takes a round, or after it did: the relay cannot know which."""
        kind = 1.0 if self.over else self._draw.random()
        if kind < 0.05:
            raise ConnectionError("the queue's connection is gone")
        if kind < 0.1:
            await asyncio.sleep(10)  # longer than the publish timeout
        if kind < 0.15:
            await self._monitor.terminate_all()
        if kind < 0.3:
            await asyncio.sleep(0.003)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_each_key_arrives_whole_and_in_order_whatever_happens(
    pool: Pool, database: str, seed: int
) -> None:
    draw = random.Random(seed)  # noqa: S311 - reproducible
    async with AsyncExitStack() as stack:
        monitor = await stack.enter_async_context(monitor_sessions(database))
        faults = Faults(seed, monitor)
        queue = FakeQueue(faults.fault, faults.interfere, faults.interfere)
        relays: list[OutboxRelay] = []
        for _ in range(RELAYS):
            own = await stack.enter_async_context(
                started(Pool(database, PoolSettings(max_size=2, min_size=0)))
            )
            relay = OutboxRelay(
                own, queue, RecordingLog(), batch=7, poll_interval=0.01, publish_timeout=0.2,
                retry_delay=0.01, max_retry_delay=0.05, max_pause=0.02,
            )  # fmt: skip
            await stack.enter_async_context(Lifecycle([relay], RecordingLog()))
            relays.append(relay)

        async def writer(seed: int) -> None:
            draw = random.Random(seed)  # noqa: S311 - reproducible
            for _ in range(TURNS):
                try:
                    await change(pool, draw.randint(1, KEYS))
                except Error:
                    continue  # its session was killed: the change is whole or not there
                relays[draw.randrange(RELAYS)].wake()

        async with asyncio.TaskGroup() as group:
            for number in range(WRITERS):
                group.create_task(writer(number))
        await relays[draw.randrange(RELAYS)].stop()
        faults.over = True
        async with asyncio.timeout(30):
            while await fetch_until_it_works(pool, "SELECT count(*) FROM outbox"):  # noqa: ASYNC110 - in the server
                await asyncio.sleep(0.01)
    for thing in range(1, KEYS + 1):
        version = await fetch_until_it_works(
            pool, "SELECT version FROM things WHERE id = $1", thing
        )
        expected = [f"{thing}:{n}:{part}" for n in range(1, version + 1) for part in "ab"]
        assert [one for one in queue.ids if one.startswith(f"{thing}:")] == expected
