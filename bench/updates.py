"""StreamUpdates: 1,000 subscribers over gRPC, how late each one hears of a change.

The service is a process of its own, the subscribers are another (``rpc_load``), and the writer is
this one, which inserts through the service's repository as a second replica would, so every change
travels by the log in PostgreSQL. Each subscriber follows one name prefix; a prefix has one
subscriber, then several, and each change as many deliveries. A delivery's time runs from before the
insertion to the client's receipt; each change must come once to each of its subscribers. Writes
``bench/results/updates.{md,json}``, not with ``--quick``. Run it with ``make bench-updates``.
"""

import argparse
import asyncio
import secrets
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from bars import Bar, bars_table, judge
from cases import new_tokens
from database import OWNER, running_database, say, scratch
from load import quantile
from outcome import machine, page, write
from rpc_layer import started
from rpc_load import Delivery, Followers, RpcPlan, encoded, find_rpcload
from servers import Skipped, cpu_seconds

from myservice.cli import SERVICE
from myservice.domain.records import Record
from myservice.proto.v1 import records_pb2
from myservice.repository.record_changes import CHANNEL
from myservice.repository.records import PgRecords
from paceline.postgres import Notifier, Pool, PoolSettings, uuid7
from paceline.postgres.migrate import SchemaUpgrade

_CHANNELS = 20
_PATIENCE = 60.0
_PATH = "/myservice.v1.RecordService/StreamUpdates"


@dataclass(frozen=True)
class Load:
    """``rate`` changes a second, each for ``shared`` of the subscribers."""

    subscribers: int
    rate: int
    shared: int
    seconds: float

    @property
    def prefixes(self) -> int:
        """How many there are to follow."""
        return self.subscribers // self.shared


@dataclass(frozen=True)
class Row:
    """What came of a load; times in ms, ``cpu``: of the server, in microseconds a delivery."""

    load: Load
    rate: float
    p50: float
    p99: float
    max: float
    cpu: float
    missed: int
    doubled: int


LOADS = (Load(1000, 500, 1, 10.0), Load(1000, 500, 4, 10.0), Load(1000, 600, 10, 10.0))
QUICK = (Load(40, 100, 1, 0.5), Load(40, 100, 4, 0.5))


def new_record(prefix: int) -> Record:
    """A record whose name begins so."""
    now = datetime.now(UTC)
    return Record(uuid7(), f"{prefix:04d}-a record", {}, msgspec.Raw(b"null"), 1, now, now)


async def listen_all(records: PgRecords, followers: Followers, load: Load) -> None:
    """Write until every subscriber has heard something: nothing else tells that a stream is up."""
    async with asyncio.timeout(_PATIENCE):
        while (await asyncio.to_thread(followers.count))[1] < load.subscribers:
            for prefix in range(load.prefixes):
                await records.insert(new_record(prefix))
            await asyncio.sleep(1)
    say(f"{load.subscribers} subscribers listen")


async def write_all(records: PgRecords, load: Load) -> dict[str, float]:
    """Insert at the rate, each under the next prefix. When each change was begun, by its id."""
    sent: dict[str, float] = {}
    began, number = time.perf_counter(), 0
    async with asyncio.TaskGroup() as group:
        while (passed := time.perf_counter() - began) < load.seconds:
            while number < passed * load.rate:
                record = new_record(number % load.prefixes)
                sent[str(record.id)] = time.time()
                group.create_task(_insert(records, record))
                number += 1
            await asyncio.sleep(0.002)
    return sent


async def _insert(records: PgRecords, record: Record) -> None:
    await records.insert(record)


async def measure(port: int, pid: int, dsn: str, tokens: Sequence[str], load: Load) -> Row:
    """Subscribe, write, wait until all is heard."""
    pool = Pool(dsn, PoolSettings(min_size=1, max_size=4, application_name="bench"))
    notifier = Notifier(pool, CHANNEL)
    records = PgRecords(pool, on_commit=notifier.notify)
    for service in (pool, notifier):
        await service.start()
    requests = [
        records_pb2.StreamRequest(filter=f"{prefix:04d}-").SerializeToString()
        for prefix in range(load.prefixes)
    ]
    plan = RpcPlan(
        f"127.0.0.1:{port}", _PATH, encoded(requests), tokens,
        connections=_CHANNELS, streams=load.subscribers // _CHANNELS,
    )  # fmt: skip
    followers = await asyncio.to_thread(Followers, find_rpcload(), plan)
    try:
        await listen_all(records, followers, load)
        heard, _ = await asyncio.to_thread(followers.count)
        used = cpu_seconds([pid])
        sent = await write_all(records, load)
        async with asyncio.timeout(_PATIENCE):
            wanted = heard + len(sent) * load.shared
            while (await asyncio.to_thread(followers.count))[0] < wanted:  # noqa: ASYNC110 - asked
                await asyncio.sleep(0.05)
        used = cpu_seconds([pid]) - used
        return summary(load, sent, await asyncio.to_thread(followers.end), used)
    finally:
        followers.close()
        for service in (notifier, pool):
            await service.stop()


def summary(load: Load, sent: dict[str, float], heard: Sequence[Delivery], used: float) -> Row:
    """What came of it. Errors: SystemExit when a subscriber was too slow."""
    latencies: list[float] = []
    times: Counter[str] = Counter()
    last = 0.0
    for delivery in heard:
        update = records_pb2.RecordUpdate.FromString(delivery.message)
        if update.kind != records_pb2.RecordUpdate.CREATED:
            raise SystemExit(f"a subscriber was told {update.kind}: it was too slow")
        if update.id in sent:
            latencies.append(delivery.at - sent[update.id])
            times[update.id] += 1
            last = max(last, delivery.at)
    latencies.sort()
    p50, p99, most = (quantile(latencies, q) * 1000 for q in (0.5, 0.99, 1.0))
    return Row(
        load, len(latencies) / max(last - min(sent.values()), 0.001), p50, p99, most,
        used / max(len(latencies), 1) * 1e6, len(sent) - len(times),
        sum(count != load.shared for count in times.values()),
    )  # fmt: skip


async def run(load: Load, folder: Path) -> Row:
    """Start everything and measure."""
    secret = secrets.token_urlsafe(48)
    tokens = new_tokens(OWNER, "records:read", secret=secret)
    async with running_database(folder / "db") as database:
        await SchemaUpgrade(database.dsn, SERVICE.get_migrations()).start()
        command: list[str | Path] = [Path(sys.executable).with_name("myservice"), "serve"]
        settings = {
            "APP_DATABASE_URL": database.dsn, "APP_JWT_SECRET": secret, "APP_PORT": "0",
            "APP_RATE_LIMIT": "10000000", "APP_STREAMS_PER_CALLER": "1000",
            "APP_LOG_FORMAT": "json",
        }  # fmt: skip
        server = started("paceline", command, settings)
        serving = await asyncio.to_thread(server.__enter__)
        try:
            pid = serving.process.pid
            return await measure(serving.port, pid, database.dsn, tokens, load)
        finally:
            await asyncio.to_thread(server.__exit__, None, None, None)


def bars(rows: Sequence[Row]) -> list[Bar]:
    """What is wanted and what was measured, of the load with the most deliveries."""
    most = max(rows, key=lambda row: row.load.rate * row.load.shared)
    return [
        Bar("deliveries to 1,000 subscribers", 5000.0, most.rate, "/s"),
        Bar("p99 of a delivery", 20.0, most.p99, "ms", most=True),
        Bar("changes missed or not heard once, in all", 0.0,
            float(sum(row.missed + row.doubled for row in rows)), most=True),
    ]  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """All of it, as Markdown."""
    lines = [
        (
            "| subscribers | changes/s | deliveries/s | p50 ms | p99 ms | max ms"
            " | server CPU µs a delivery | missed | not once |"
        ),
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row.load.subscribers:,} | {row.load.rate} | {row.rate:,.0f} | {row.p50:.1f}"
        f" | {row.p99:.1f} | {row.max:.0f} | {row.cpu:.0f} | {row.missed} | {row.doubled} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, write, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="in seconds, nothing written")
    options = parser.parse_args()
    on = machine()
    rows: list[Row] = []
    try:
        find_rpcload()
    except Skipped as reason:
        say(f"SKIPPED all of it: {reason}")
        return
    for load in QUICK if options.quick else LOADS:
        with scratch() as folder:
            rows.append(asyncio.run(run(load, folder)))
        say(f"{rows[-1]}")
    found, body = bars(rows), table(rows)
    sys.stdout.write(f"{bars_table(found)}\n{body}")
    if any(row.missed or row.doubled for row in rows):
        raise SystemExit("changes were missed, or not heard once")
    if options.quick:
        return
    head = (
        f"`make bench-updates`: StreamUpdates over gRPC on {_CHANNELS} connections, one server"
        " process with its defaults, but for the streams that one caller may have,"
        f" {LOADS[0].seconds:g} s for each row; all cores are shared"
        " with PostgreSQL, the writer and the subscribers (`bench/rpcload`). A delivery's time runs"
        " from before the insertion to the receipt. The bars are those of the last row."
    )
    figures = {"rows": [asdict(row) for row in rows]}
    write("updates", page(head, on, found, body), on=on, bars=found, figures=figures)
    judge(found)


if __name__ == "__main__":
    main()
