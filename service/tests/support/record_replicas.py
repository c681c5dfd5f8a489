"""Replicas of the feed of changes on one database, and checks of the updates they deliver."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from myservice.domain.record_updates import RecordUpdate
from myservice.domain.records import Record
from myservice.repository.record_changes import CHANNEL, PgRecordChanges
from myservice.repository.records import PgRecords
from myservice.service.record_updates import RecordFeed
from paceline.clock import SystemClock
from paceline.lifecycle import Lifecycle
from paceline.postgres import Notifier, Pool, PoolSettings, listening, uuid7
from paceline.testing import RecordingLog

PATIENCE = 20.0


@dataclass
class Replica:
    """The feed and what it needs, as in one process of the service."""

    pool: Pool
    records: PgRecords
    changes: PgRecordChanges
    feed: RecordFeed
    log: RecordingLog


@asynccontextmanager
async def replica(
    dsn: str, *, poll: float = 0.2, max_queued: int = 100_000, page: int = 50
) -> AsyncGenerator[Replica]:
    """A started replica, with small pages so that there are many."""
    log = RecordingLog()
    pool = Pool(dsn, PoolSettings(min_size=1, max_size=6))
    notifier = Notifier(pool, CHANNEL)
    records = PgRecords(pool, on_commit=notifier.notify)
    changes = PgRecordChanges(pool)
    feed = RecordFeed(
        changes,
        lambda: listening(dsn, CHANNEL, log, reconnect_delay=0.01),
        SystemClock(),
        log,
        poll=poll,
        page=page,
        max_queued=max_queued,
        linger=0.0,
    )
    async with Lifecycle([pool, notifier, feed], log):
        yield Replica(pool, records, changes, feed, log)


def record(name: str = "a") -> Record:
    now = datetime.now(UTC)
    return Record(uuid7(), name, {"k": "v"}, msgspec.Raw(b'{"n": 1}'), 1, now, now)


async def read_updates(updates: AsyncIterator[RecordUpdate], count: int) -> list[RecordUpdate]:
    """The next ``count`` updates."""
    async with asyncio.timeout(PATIENCE):
        return [await anext(updates) for _ in range(count)]


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - another task's or another process's state
            await asyncio.sleep(0.005)


def summaries(updates: Iterable[RecordUpdate]) -> list[tuple[UUID | None, str, int | None]]:
    return [(u.id, u.kind, u.version) for u in updates]


def check_sequence(updates: Iterable[RecordUpdate]) -> None:
    """Assert that each record's updates are in order, without gaps and duplicates."""
    versions: dict[UUID, int] = {}
    for update in updates:
        assert update.id is not None
        assert update.version is not None
        before = versions.get(update.id)
        match update.kind:
            case "created":
                assert before is None
                assert update.version == 1
            case "replaced":
                assert before == update.version - 1
                assert update.record is not None
                assert update.record.version == update.version
            case "deleted":
                assert before == update.version
                versions[update.id] = -1
                continue
            case "resync":
                raise AssertionError("no update was to be dropped")
        versions[update.id] = update.version
