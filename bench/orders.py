"""Orders, from the queue to the committed effect: our worker against consumers in Go.

All read messages of the same JetStream stream, pay orders in the same durable PostgreSQL, and take
turns. Go's consumer is there as it is usually written, one message at a time, and with 25 in
flight, as many as there are connections, those of one payer in their order. *Throughput*: messages
for some seconds wait in the stream, as many as the worker's first turn has shown that it needs; the
worker starts, and the orders decided between a tenth and the end are counted over time, so its
start-up is not. *Latency*: messages are published at half that rate at most, and each one's time
runs to its commit as PostgreSQL's clock has it. After each turn every order must be decided, the
money conserved. Writes ``bench/results/orders.{md,json}``, not with ``--quick``. Run it with
``make bench-orders``.
"""

import argparse
import asyncio
import os
import random
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import LiteralString
from uuid import UUID

import asyncpg
import msgspec
from database import (
    ACCOUNTS,
    BALANCE,
    OWNER,
    RECORDS,
    Database,
    Progress,
    running_database,
    say,
    scratch,
)
from load import quantile
from outcome import machine, page, write
from servers import Skipped, build_go

from myservice.domain.orders import CREATED_SUBJECT, Order, order_created
from myservice.worker.orders import ORDERS_STREAM
from paceline.engines import NatsEngine
from paceline.messaging import Message
from paceline.messaging.nats import NatsBus
from paceline.postgres import connect, uuid7

HERE = Path(__file__).parent
_OURS = "paceline, 1 worker"
_HEAD = (
    "| consumer | orders/s | range | over Go, 25 at once | over Go, one at a time | p50 ms"
    " | p99 ms | problems |"
)
_CONCURRENT = "Go: nats.go + pgx, 25 messages at once, locks in order"
_PATIENCE = 180.0
_FEWEST = 200
_TICK = 0.01
_LOOK = 0.25
_PUBLISHED_AT_ONCE = 1000
_INSERTED_AT_ONCE = 20_000
# Orders a second: what a queue that writes each message to the disk takes in easily.
_MOST = 1000.0
_LATENCY_SECONDS = 5.0
_INSERT: LiteralString = """
    INSERT INTO orders (id, placed_by, from_id, to_id, amount, reference, created_at)
    SELECT * FROM unnest(
        $1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::bigint[], $6::text[], $7::timestamptz[]
    )
"""
_RATE: LiteralString = """
    SELECT count(*), extract(epoch FROM max(at) - min(at))
    FROM (SELECT pg_xact_commit_timestamp(xmin) AS at FROM orders ORDER BY at OFFSET $1) AS later
"""
_WRONG: LiteralString = """
    SELECT
        (SELECT count(*) FROM orders WHERE status = 'pending') AS pending,
        (SELECT count(*) FROM orders WHERE status = 'paid')
            - (SELECT count(*) FROM transfers) AS doubled,
        (SELECT sum(balance) FROM accounts) - $1 AS changed
"""


@dataclass(frozen=True)
class Worker:
    """Somebody who consumes orders."""

    title: str
    command: Sequence[str | Path]
    settings: dict[str, str]


@dataclass(frozen=True)
class Turn:
    """What one turn came to. Times in seconds; ``problems`` are to be printed."""

    rate: float
    p50: float
    p99: float
    problems: list[str]


@dataclass(frozen=True)
class Size:
    """How much is measured: rounds, seconds of throughput in each, seconds of load for latency.

    ``first``: orders of the turn that shows the rate. ``records``: how
    many the database holds besides.
    """

    rounds: int
    window: float
    first: int = 4_000
    seconds: float = _LATENCY_SECONDS
    records: int = RECORDS


QUICK = Size(1, 0.1, first=300, seconds=0.5, records=1_000)


class Bench:
    """The database, the queue, and the orders that go through them."""

    def __init__(
        self, session: asyncpg.Connection, bus: NatsBus, accounts: Sequence[str], size: Size
    ) -> None:
        self._size = size
        self._session = session
        self._bus = bus
        self._accounts = [UUID(text) for text in accounts]
        self._draw = random.Random(3)  # noqa: S311 - a load, not a secret

    async def rate(self, worker: Worker, count: int) -> float:
        """Orders a second, of so many."""
        await self._reset()
        for start in range(0, count, _INSERTED_AT_ONCE):
            await self._publish(await self._insert(min(_INSERTED_AT_ONCE, count - start)))
        async with running(worker):
            return await self._until_decided(count)

    async def turn(self, worker: Worker, count: int) -> Turn:
        """Throughput of so many orders, then latency at half of it."""
        rate = await self.rate(worker, count)
        problems = await self._problems()
        await self._reset()
        async with running(worker):
            latencies = await self._latencies(min(rate / 2, _MOST))
        problems += await self._problems()
        return Turn(rate, quantile(latencies, 0.5), quantile(latencies, 0.99), problems)

    async def _reset(self) -> None:
        # Consumers, too: Go's is of another kind under the same name.
        await self._bus.call_api(f"STREAM.DELETE.{ORDERS_STREAM.name}", None, dict[str, object])
        await self._bus.ensure_stream(ORDERS_STREAM)
        await self._session.execute("TRUNCATE orders, outbox, inbox, transfers, idempotency_keys")
        await self._session.execute("UPDATE accounts SET balance = $1", BALANCE)
        await self._session.execute("VACUUM ANALYZE accounts")
        await self._session.execute("CHECKPOINT")

    async def _insert(self, count: int) -> list[Order]:
        now = datetime.now(UTC)
        orders: list[Order] = []
        for _ in range(count):
            payer, payee = self._draw.sample(self._accounts, 2)
            amount = self._draw.randint(1, 100)
            orders.append(Order(uuid7(), OWNER, payer, payee, amount, "a benchmark", now))
        await self._session.execute(
            _INSERT,
            [order.id for order in orders],
            [order.placed_by for order in orders],
            [order.from_id for order in orders],
            [order.to_id for order in orders],
            [order.amount for order in orders],
            [order.reference for order in orders],
            [order.created_at for order in orders],
        )
        return orders

    async def _publish(self, orders: Sequence[Order]) -> None:
        messages = [
            Message(CREATED_SUBJECT, msgspec.json.encode(order_created(order)), str(order.id))
            for order in orders
        ]
        for start in range(0, len(messages), _PUBLISHED_AT_ONCE):
            part = messages[start : start + _PUBLISHED_AT_ONCE]
            for outcome in await self._bus.publish_all(part):
                if outcome is not None:
                    raise outcome

    async def _until_decided(self, count: int) -> float:
        """Wait until all are decided; gives how many a second were, after the first tenth.

        By PostgreSQL's own times of the commits, so that looking seldom is enough: each look reads
        the whole table.
        """
        async with asyncio.timeout(_PATIENCE):
            while await self._decided() < count:  # noqa: ASYNC110 - only the database knows
                await asyncio.sleep(_LOOK)
        ((decided, seconds),) = await self._session.fetch(_RATE, count // 10)
        return float(decided) / max(float(seconds), 0.001)

    async def _decided(self) -> int:
        statement = "SELECT count(*) FROM orders WHERE status <> 'pending'"
        return int(await self._session.fetchval(statement))

    async def _latencies(self, rate: float) -> list[float]:
        """From publishing to the commit, in seconds, in order, at ``rate`` orders a second."""
        warm = await self._insert(100)
        orders = await self._insert(int(rate * self._size.seconds))
        await self._publish(warm)
        async with asyncio.timeout(_PATIENCE):
            while await self._decided() < len(warm):  # noqa: ASYNC110 - only the database knows
                await asyncio.sleep(0.05)
        sent: dict[UUID, float] = {}
        began = time.time()
        async with asyncio.TaskGroup() as group:
            while len(sent) < len(orders):
                until = min(len(orders), int((time.time() - began) * rate) + 1)
                if due := orders[len(sent) : until]:
                    now = time.time()
                    sent.update((order.id, now) for order in due)
                    group.create_task(self._publish(due))
                await asyncio.sleep(_TICK)
        async with asyncio.timeout(_PATIENCE):
            while await self._decided() < len(warm) + len(orders):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.1)
        rows = await self._session.fetch(
            "SELECT id, pg_xact_commit_timestamp(xmin) AS at FROM orders"
        )
        return sorted(row["at"].timestamp() - sent[row["id"]] for row in rows if row["id"] in sent)

    async def _problems(self) -> list[str]:
        (row,) = await self._session.fetch(_WRONG, ACCOUNTS * BALANCE)
        return [f"{row[name]} {name}" for name in ("pending", "doubled", "changed") if row[name]]


@asynccontextmanager
async def running(worker: Worker) -> AsyncGenerator[None]:
    """The worker as a process of its own. *Resources*: the process, until the block ends."""
    foreign = {name: value for name, value in os.environ.items() if not name.startswith("APP_")}
    process = await asyncio.create_subprocess_exec(
        *worker.command, env=foreign | worker.settings,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(20):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def workers(database_url: str, nats_url: str) -> list[Worker]:
    """Ours, and Go's where it can be built."""
    myservice = Path(sys.executable).with_name("myservice")
    ours = {
        "APP_DATABASE_URL": database_url, "APP_NATS_URL": nats_url, "APP_LOG_FORMAT": "json",
    }  # fmt: skip
    found = [Worker(_OURS, [myservice, "worker"], ours)]
    try:
        program = build_go(HERE / "peers/go-orders", "go-orders-peer")
    except Skipped as reason:
        say(f"SKIPPED the reference consumer in Go: {reason}")
    else:
        theirs = {"DATABASE_URL": database_url, "NATS_URL": nats_url}
        found += [
            Worker(_CONCURRENT, [program], theirs | {"WORKERS": "25"}),
            Worker("Go: nats.go + pgx, one message at a time", [program], theirs),
        ]
    return found


async def measure(size: Size, folder: Path) -> dict[str, list[Turn]]:
    """The whole bench. Gives the turns of each worker, by its title."""
    engine = NatsEngine(Progress(), data_dir=folder / "nats", progress=say)
    await engine.start()
    try:
        async with running_database(folder / "db", track_commit_timestamp="on") as database:
            return await _measure(database, engine.url, size)
    finally:
        await engine.stop()


async def _measure(database: Database, nats_url: str, size: Size) -> dict[str, list[Turn]]:
    world = await database.seed(size.records)
    session = await connect(database.dsn)
    await session.execute("SET session_replication_role = replica")  # tables are append-only
    bus = NatsBus(nats_url, Progress(), streams=[ORDERS_STREAM])
    await bus.start()
    turns: dict[str, list[Turn]] = {}
    try:
        bench = Bench(session, bus, world.accounts, size)
        taking_part = workers(database.dsn, nats_url)
        counts: dict[str, int] = {}
        for worker in taking_part:
            rate = await bench.rate(worker, size.first)
            counts[worker.title] = max(_FEWEST, int(rate * size.window))
            say(f"{worker.title}: {rate:,.0f}/s at first")
        for number in range(size.rounds):
            for worker in taking_part:
                turn = await bench.turn(worker, counts[worker.title])
                turns.setdefault(worker.title, []).append(turn)
                say(f"round {number + 1}: {worker.title}: {turn}")
    finally:
        await bus.stop()
        await session.close()
    return turns


def table(turns: dict[str, list[Turn]]) -> str:
    """The medians as Markdown. The first ratio is that to the concurrent consumer in Go."""
    lines = [
        _HEAD,
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    rates = {title: [turn.rate for turn in found] for title, found in turns.items()}
    for title, found in turns.items():
        problems = "; ".join(problem for turn in found for problem in turn.problems) or "none"
        mine = median(rates[title])
        over = [
            f"{median(a / max(b, 0.001) for a, b in zip(rates[title], theirs, strict=True)):.2f}"
            for other, theirs in rates.items()
            if other != _OURS
        ]
        lines.append(
            f"| {title} | {mine:,.0f} | {min(rates[title]):,.0f}–{max(rates[title]):,.0f}"
            f" | {' | '.join(over or ['–', '–'])} |"
            f" {median(turn.p50 for turn in found) * 1000:.1f} |"
            f" {median(turn.p99 for turn in found) * 1000:.1f} | {problems} |"
        )
    return "\n".join(lines) + "\n"


def head(size: Size) -> str:
    """What was done."""
    return (
        f"`make bench-orders`: orders of {ACCOUNTS:,} accounts, for about {size.window:g} s of each"
        f" worker's rate, {size.rounds} rounds in turn, medians; all cores are shared with"
        " PostgreSQL and NATS (`sync_interval: always`). Latency: from publishing to the commit, at"
        f" half the throughput, at most {_MOST:,.0f}/s."
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--window", type=float, default=4.0, help="seconds of throughput")
    parser.add_argument("--quick", action="store_true", help="in seconds, nothing written")
    options = parser.parse_args()
    size = QUICK if options.quick else Size(options.rounds, options.window)
    on = machine()
    with scratch() as folder:
        turns = asyncio.run(measure(size, folder))
    body = table(turns)
    sys.stdout.write(body)
    if not options.quick:
        figures = {
            "rows": [
                {"consumer": title, "rate": median(turn.rate for turn in found),
                 "p99": median(turn.p99 for turn in found) * 1000}
                for title, found in turns.items()
            ]
        }  # fmt: skip
        write("orders", page(head(size), on, (), body), on=on, figures=figures)
    if any(turn.problems for each in turns.values() for turn in each):
        raise SystemExit("orders undecided, paid twice, or money made: see the table")


if __name__ == "__main__":
    main()
