"""Several relays, a queue that fails in every way, sessions that are killed: order and no loss.

Each key has a row that its writers lock, as changes of one thing do; what they write is numbered.
Whatever happens on the way, the queue must end up with each key's numbers, all and in order.
"""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import LiteralString

import pytest
from fake_queue import FakeQueue
from pg_watch import Watch, started, watching
from recording_log import RecordingLog

from paceline.errors import Code, Error
from paceline.messaging import Message
from paceline.postgres import Pool
from paceline.postgres.outbox import SCHEMA, OutboxRelay, enqueue

pytestmark = pytest.mark.integration

KEYS, WRITERS, TURNS, RELAYS = 6, 8, 40, 3


@pytest.fixture
async def pool(database: str) -> AsyncGenerator[Pool]:
    async with started(Pool(database, max_size=WRITERS, min_size=1)) as pool:
        await pool.execute(SCHEMA)
        await pool.execute("CREATE TABLE things (id int PRIMARY KEY, version int NOT NULL)")
        await pool.execute("INSERT INTO things SELECT n, 0 FROM generate_series(1, $1) AS n", KEYS)
        yield pool


async def change(pool: Pool, thing: int) -> None:
    """A new version of a thing, and two messages that tell of it."""
    async with pool.transaction() as tx:
        version = await tx.fetchval(
            "UPDATE things SET version = version + 1 WHERE id = $1 RETURNING version", thing
        )
        await asyncio.sleep(0)
        name = f"{thing}:{version}"
        await enqueue(tx, [Message("t", b"", f"{name}:{part}", f"k{thing}") for part in "ab"])


async def insist(pool: Pool, sql: LiteralString, *args: object) -> int:
    """Ask again when the last of the killings strikes this very statement."""
    while True:
        try:
            found: int = await pool.fetchval(sql, *args)
        except Error:
            continue
        return found


class Trouble:
    """Draws what goes wrong next, until it is told that it was enough."""

    def __init__(self, seed: int, watch: Watch) -> None:
        self._draw = random.Random(seed)  # noqa: S311 - a disorder that can be had again
        self._watch = watch
        self.over = False

    def fault(self, message: Message) -> Exception | None:
        if self.over or self._draw.random() > 0.05:
            return None
        code = self._draw.choice([Code.UNAVAILABLE, Code.INVALID_ARGUMENT])
        return Error(code, f"not {message.id}")

    async def strike(self) -> None:
        """Before the queue takes a round, or after it did: who sent it does not know."""
        kind = 1.0 if self.over else self._draw.random()
        if kind < 0.05:
            raise ConnectionError("the queue's connection is gone")
        if kind < 0.1:
            await asyncio.sleep(10)  # longer than the relay waits
        if kind < 0.15:
            await self._watch.terminate_all()
        if kind < 0.3:
            await asyncio.sleep(0.003)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_each_key_arrives_whole_and_in_order_whatever_happens(
    pool: Pool, database: str, seed: int
) -> None:
    draw = random.Random(seed)  # noqa: S311 - the same each time
    async with AsyncExitStack() as stack:
        watch = await stack.enter_async_context(watching(database))
        trouble = Trouble(seed, watch)
        queue = FakeQueue(trouble.fault, trouble.strike, trouble.strike)
        relays: list[OutboxRelay] = []
        for _ in range(RELAYS):
            own = await stack.enter_async_context(started(Pool(database, max_size=2, min_size=0)))
            relay = OutboxRelay(
                own, queue, RecordingLog(), batch=7, poll=0.01, publish_timeout=0.2,
                retry_first=0.01, retry_most=0.05, pause_most=0.02,
            )  # fmt: skip
            await relay.start()
            stack.push_async_callback(relay.stop)
            relays.append(relay)

        async def writer(seed: int) -> None:
            draw = random.Random(seed)  # noqa: S311 - the same each time
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
        trouble.over = True
        async with asyncio.timeout(30):
            while await insist(pool, "SELECT count(*) FROM outbox"):  # noqa: ASYNC110 - in the server
                await asyncio.sleep(0.01)
    for thing in range(1, KEYS + 1):
        version = await insist(pool, "SELECT version FROM things WHERE id = $1", thing)
        expected = [f"{thing}:{n}:{part}" for n in range(1, version + 1) for part in "ab"]
        assert [one for one in queue.ids if one.startswith(f"{thing}:")] == expected
