"""StreamUpdates: 1,000 subscribers over gRPC, 500 changes a second, how late each one hears.

The service is a process of its own; subscribers and writer are another, which inserts through the
service's repository as a second replica would, so every change travels by the log in PostgreSQL.
Each subscriber follows one name prefix; a prefix has one subscriber, then four, and each change as
many deliveries. A delivery's time runs from before the insertion to the client's receipt; each
change must come once to each of its subscribers. Writes ``bench/results/updates.md``, not with
``--quick``. Run it with ``make bench-updates``.
"""

import argparse
import asyncio
import os
import secrets
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from database import OWNER, running_database, say, scratch
from grpc import aio
from load import quantile
from rpc_layer import started

from myservice.cli import SERVICE
from myservice.domain.records import Record
from myservice.proto.v1 import records_pb2
from myservice.repository.record_changes import CHANNEL
from myservice.repository.records import PgRecords
from paceline.postgres import Notifier, Pool, PoolSettings, uuid7
from paceline.postgres.migrate import SchemaUpgrade
from paceline.testing import make_token

HERE = Path(__file__).parent
_CHANNELS = 20
_PATIENCE = 60.0


class Audience:
    """The subscribers, and what they have heard."""

    def __init__(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self.sent: dict[str, float] = {}
        self.latencies: list[float] = []
        self.heard: Counter[str] = Counter()
        self.listening: set[int] = set()
        self._metadata = metadata

    async def follow(self, number: int, channel: aio.Channel, prefix: str) -> None:
        """Follow one prefix, for as long as the task lives."""
        stream: aio.UnaryStreamMultiCallable[
            records_pb2.StreamRequest, records_pb2.RecordUpdate
        ] = channel.unary_stream(
            "/myservice.v1.RecordService/StreamUpdates",
            request_serializer=records_pb2.StreamRequest.SerializeToString,
            response_deserializer=records_pb2.RecordUpdate.FromString,
        )
        call = stream(records_pb2.StreamRequest(filter=prefix), metadata=self._metadata)
        async for update in call:
            self.listening.add(number)
            if update.kind != records_pb2.RecordUpdate.CREATED:
                raise RuntimeError(f"a subscriber was told {update.kind}: it was too slow")
            if update.id in self.sent:
                self.latencies.append(time.perf_counter() - self.sent[update.id])
                self.heard[update.id] += 1


def new_record(prefix: int) -> Record:
    """A record whose name begins so."""
    now = datetime.now(UTC)
    return Record(uuid7(), f"{prefix:04d}-a record", {}, msgspec.Raw(b"null"), 1, now, now)


async def listen_all(
    records: PgRecords, audience: Audience, prefixes: int, subscribers: int
) -> None:
    """Write until every subscriber has heard something: nothing else tells that a stream is up."""
    async with asyncio.timeout(_PATIENCE):
        while len(audience.listening) < subscribers:
            for prefix in range(prefixes):
                await records.insert(new_record(prefix))
            await asyncio.sleep(1)
    say(f"{len(audience.listening)} subscribers listen")


async def write(
    records: PgRecords, audience: Audience, prefixes: int, rate: int, seconds: float
) -> None:
    """Insert ``rate`` records a second, each under the next prefix."""
    began, number = time.perf_counter(), 0
    async with asyncio.TaskGroup() as group:
        while (passed := time.perf_counter() - began) < seconds:
            while number < passed * rate:
                record = new_record(number % prefixes)
                audience.sent[str(record.id)] = time.perf_counter()
                group.create_task(_insert(records, record))
                number += 1
            await asyncio.sleep(0.002)


async def _insert(records: PgRecords, record: Record) -> None:
    await records.insert(record)


async def measure(
    port: int, dsn: str, token: str, options: argparse.Namespace
) -> tuple[Audience, int]:
    """Subscribe, write, wait until all is heard."""
    prefixes = options.subscribers // options.shared
    audience = Audience((("authorization", f"Bearer {token}"),))
    pool = Pool(dsn, PoolSettings(min_size=1, max_size=4, application_name="bench"))
    notifier = Notifier(pool, CHANNEL)
    records = PgRecords(pool, on_commit=notifier.notify)
    channels = [
        aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])
        for _ in range(_CHANNELS)
    ]
    for service in (pool, notifier):
        await service.start()
    followers = [
        asyncio.create_task(audience.follow(n, channels[n % _CHANNELS], f"{n % prefixes:04d}-"))
        for n in range(options.subscribers)
    ]
    try:
        await listen_all(records, audience, prefixes, options.subscribers)
        await write(records, audience, prefixes, options.rate, options.seconds)
        wanted = len(audience.sent) * options.shared
        async with asyncio.timeout(_PATIENCE):
            while len(audience.latencies) < wanted:
                if failed := [one for one in followers if one.done()]:
                    failed[0].result()
                await asyncio.sleep(0.05)
        return audience, len(audience.sent)
    finally:
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
        for channel in channels:
            await channel.close()
        for service in (notifier, pool):
            await service.stop()


def report(audience: Audience, changes: int, options: argparse.Namespace) -> str:
    """What came of it, as a line of the table."""
    ordered = sorted(audience.latencies)
    p50, p99, most = (quantile(ordered, q) * 1000 for q in (0.5, 0.99, 1.0))
    doubled = sum(count != options.shared for count in audience.heard.values())
    missed = changes - len(audience.heard)
    if doubled or missed or not changes:
        raise SystemExit(f"of {changes} changes {missed} missed and {doubled} not heard once")
    return (
        f"| {options.subscribers:,} | {options.rate} | {options.rate * options.shared:,} |"
        f" {p50:.1f} | {p99:.1f} | {most:.0f} | {missed} | {doubled} |\n"
    )


async def run(options: argparse.Namespace, folder: Path) -> str:
    """Start everything, measure, and give the line."""
    secret = secrets.token_urlsafe(48)
    token = make_token(OWNER, "records:read", secret=secret, expiry=7200)
    async with running_database(folder / "db") as database:
        await SchemaUpgrade(database.dsn, SERVICE.get_migrations()).start()
        command: list[str | Path] = [Path(sys.executable).with_name("myservice"), "serve"]
        settings = {
            "APP_DATABASE_URL": database.dsn, "APP_JWT_SECRET": secret, "APP_PORT": "0",
            "APP_RATE_LIMIT": "0", "APP_LOG_FORMAT": "json",
        }  # fmt: skip
        server = started("paceline", command, **settings)
        serving = await asyncio.to_thread(server.__enter__)
        try:
            return report(*await measure(serving.port, database.dsn, token, options), options)
        finally:
            await asyncio.to_thread(server.__exit__, None, None, None)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscribers", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=500, help="changes a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--quick", action="store_true", help="in seconds, nothing written")
    options = parser.parse_args()
    if options.quick:
        options.subscribers, options.rate, options.seconds = 40, 100, 0.5
    head = (
        f"`make bench-updates`: StreamUpdates over gRPC, one server process, {options.seconds:g} s;"
        f" {os.cpu_count()} cores shared with PostgreSQL, the writer and all subscribers.\n\n"
        "| subscribers | changes/s | deliveries/s | p50 ms | p99 ms | max ms | missed | not once"
        " |\n"
        "|---:|---:|---:|---:|---:|---:|---:|---:|\n"
    )
    lines: list[str] = []
    for shared in (1, 4):
        options.shared = shared
        with scratch() as folder:
            lines.append(asyncio.run(run(options, folder)))
        say(lines[-1])
    text = head + "".join(lines)
    sys.stdout.write(text)
    if not options.quick:
        (HERE / "results/updates.md").write_text(text)


if __name__ == "__main__":
    main()
