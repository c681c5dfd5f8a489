"""The stream of changes on a real database: once, in order, across replicas, resumable."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable
from contextlib import AsyncExitStack, suppress
from uuid import UUID

import msgspec
import pytest
from record_replicas import Replica, check_sequence, read_updates, record, replica, summaries

from myservice.domain.record_updates import Position, RecordUpdate
from myservice.domain.records import RecordDraft, RecordNotFound
from myservice.repository.record_changes import INSERT_RECORDS
from myservice.service.record_changes_retention import RecordChangesRetention
from myservice.service.record_updates import decode_position, encode_position
from paceline.postgres import Connection, DatabaseError, connect
from paceline.testing import RecordingLog

pytestmark = pytest.mark.integration

DRAFT = RecordDraft("a", {"x": "y"}, msgspec.Raw(b"[1]"))
START = Position(0, 0)


@pytest.fixture
async def one(migrated: str) -> AsyncGenerator[Replica]:
    async with replica(migrated) as found:
        yield found


async def test_every_kind_of_change_is_delivered_with_its_content(one: Replica) -> None:
    async with one.feed.subscribe("", None) as updates:
        new = await one.records.insert(record())
        changed = await one.records.replace(new.id, DRAFT, new.created_at, None)
        await one.records.delete(new.id, None)
        created, replaced, deleted = await read_updates(updates, 3)
    assert summaries([created, replaced, deleted]) == [
        (new.id, "created", 1), (new.id, "replaced", 2), (new.id, "deleted", 2),
    ]  # fmt: skip
    assert created.record == new
    assert replaced.record == changed
    assert deleted.record is None


async def test_a_change_that_fails_is_not_delivered(one: Replica) -> None:
    async with one.feed.subscribe("", None) as updates:
        new = await one.records.insert(record())
        with pytest.raises(RecordNotFound):
            await one.records.delete(record().id, None)
        await asyncio.gather(
            one.records.delete(new.id, [9]), one.records.insert(new), return_exceptions=True
        )
        last = await one.records.insert(record())
        assert summaries(await read_updates(updates, 2)) == [
            (new.id, "created", 1),
            (last.id, "created", 1),
        ]


async def test_all_changes_of_one_record_in_one_batch_are_delivered(one: Replica) -> None:
    new = await one.records.insert(record())
    async with one.feed.subscribe("", None) as updates:
        await asyncio.gather(
            *(one.records.replace(new.id, DRAFT, new.created_at, None) for _ in range(20)),
            one.records.delete(new.id, None),
        )
        received = await read_updates(updates, 21)
    assert [update.version for update in received] == [*range(2, 22), 21]
    assert received[-1].kind == "deleted"


async def test_a_subscriber_of_the_old_name_receives_the_renaming(one: Replica) -> None:
    new = await one.records.insert(record("old-1"))
    async with one.feed.subscribe("old", None) as updates:
        draft = RecordDraft("new-1")
        await one.records.replace(new.id, draft, new.created_at, None)
        await one.records.replace(new.id, draft, new.created_at, None)
        mine = await one.records.insert(record("old-2"))
        received = await read_updates(updates, 2)
    assert summaries(received) == [(new.id, "replaced", 2), (mine.id, "created", 1)]
    assert received[0].record is not None
    assert received[0].record.name == "new-1"


async def test_a_later_change_by_an_older_transaction_does_not_come_first(one: Replica) -> None:
    """The older transaction locks another record first, then waits for the newer; a third is open."""
    first, second, third = sorted([record(), record(), record()], key=lambda new: new.id)
    for new in (first, second, third):
        await one.records.insert(new)
    start = await one.changes.now()
    async with one.pool.connection() as old, one.pool.connection() as middle:
        await old.execute("BEGIN")
        await old.execute("SELECT id FROM records WHERE id = $1 FOR UPDATE", first.id)
        await middle.execute("BEGIN")
        await middle.execute("SELECT id FROM records WHERE id = $1 FOR UPDATE", third.id)
        await one.records.replace(second.id, DRAFT, second.created_at, None)  # the newest
        await change(old, second.id, 3)
        await old.execute("COMMIT")
        seen = (await one.changes.read(start, 100, 10**6)).changes
        await middle.execute("COMMIT")
    page = await one.changes.read(seen[-1].position if seen else start, 100, 10**6)
    received = [item.update for item in (*seen, *page.changes)]
    assert summaries(received) == [(second.id, "replaced", 2), (second.id, "replaced", 3)]


async def change(tx: Connection, record_id: UUID, version: int) -> None:
    """What the repository does once it has the lock, in a transaction of the test."""
    await tx.execute("SELECT id FROM records WHERE id = $1 FOR UPDATE", record_id)
    await tx.execute(
        "INSERT INTO record_changes (settled, kind, record_id, version, name, metadata, data,"
        " created_at, updated_at) VALUES ((SELECT greatest(pg_current_xact_id()::text::bigint,"
        " pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1)), 'replaced', $1, $2, 'a',"
        " '{}', '1', now(), now())",
        record_id, version,
    )  # fmt: skip


async def test_an_uncommitted_change_is_not_passed(one: Replica) -> None:
    start = await one.changes.now()
    slow = record()
    async with one.pool.connection() as tx:
        await tx.execute("BEGIN")
        at = slow.created_at
        await tx.execute(INSERT_RECORDS, [slow.id], ["a"], ["{}"], ["1"], [1], [at], [at])
        quick = await one.records.insert(record())
        page = await one.changes.read(start, 10, 10**6)
        assert page.changes == []
        await tx.execute("COMMIT")
    page = await one.changes.read(page.end, 10, 10**6)
    assert summaries(c.update for c in page.changes) == [
        (slow.id, "created", 1),
        (quick.id, "created", 1),
    ]


async def work(place: Replica, ids: list[UUID], chance: random.Random, count: int) -> None:
    """Create, replace and delete at random, others' records too, some of it in bursts."""
    for _ in range(count):
        match chance.randrange(4):
            case 0:
                ids.append((await place.records.insert(record())).id)
            case 1 if ids:
                await ignoring_missing(
                    place.records.delete(ids.pop(chance.randrange(len(ids))), None)
                )
            case _ if ids:
                burst = [chance.choice(ids) for _ in range(chance.randrange(1, 6))]
                at = record().created_at
                await asyncio.gather(
                    *(ignoring_missing(place.records.replace(i, DRAFT, at, None)) for i in burst)
                )
            case _:
                pass


async def ignoring_missing(call: Awaitable[object]) -> None:
    with suppress(RecordNotFound):
        await call


@pytest.mark.parametrize("seed", range(3))
async def test_under_concurrent_writers_each_change_comes_once_and_in_order(
    migrated: str, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable, on purpose
    received: dict[str, list[RecordUpdate]] = {}
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(replica(migrated)) for _ in range(2)]
        done = asyncio.Event()

        async def follow(place: Replica, name: str) -> None:
            """Subscribe, and resume every now and then."""
            mine = received.setdefault(name, [])
            after = None
            while not done.is_set() or len(mine) < await logged(replicas[0]):
                async with place.feed.subscribe("", after) as updates:
                    started.release()
                    for _ in range(1 if name == "restless" else 1000):
                        try:
                            async with asyncio.timeout(0.5):
                                mine.append(await anext(updates))
                        except TimeoutError:
                            break
                        after = mine[-1].position
                if after is None:
                    assert not done.is_set()

        started = asyncio.Semaphore(0)
        async with asyncio.TaskGroup() as group:
            for index, place in enumerate(replicas):
                group.create_task(follow(place, f"steady {index}"))
            await started.acquire()
            await started.acquire()
            await replicas[0].records.insert(record())
            group.create_task(follow(replicas[0], "late"))
            ids: list[UUID] = []
            async with asyncio.TaskGroup() as writers:
                for number in range(8):
                    own = random.Random(chance.random())  # noqa: S311 - as above
                    writers.create_task(work(replicas[number % 2], ids, own, 30))
            done.set()
        total = await logged(replicas[0])
        async with replicas[1].feed.subscribe("", encode_position(START)) as updates:
            again = await read_updates(updates, total)
    for name in ("steady 0", "steady 1"):
        check_sequence(received[name])
        assert [u.position for u in received[name]] == [u.position for u in again]
    assert [u.position for u in received["late"]] == [
        u.position for u in again[-len(received["late"]) :]
    ]


async def logged(place: Replica) -> int:
    found: int = await place.pool.fetchval("SELECT count(*) FROM record_changes")
    return found


async def test_a_subscriber_of_another_replica_is_notified_without_waiting_for_the_poll(
    migrated: str,
) -> None:
    async with (
        replica(migrated, poll=600) as here,
        replica(migrated, poll=600) as there,
        there.feed.subscribe("", None) as updates,
    ):
        for _ in range(3):
            new = await here.records.insert(record())
            assert summaries(await read_updates(updates, 1)) == [(new.id, "created", 1)]


async def test_without_notifications_the_poll_finds_everything(migrated: str) -> None:
    async with replica(migrated) as there, there.feed.subscribe("", None) as updates:
        raw = await connect(migrated)
        try:
            new = record()
            at = new.created_at
            await raw.execute(INSERT_RECORDS, [new.id], ["a"], ["{}"], ["1"], [1], [at], [at])
        finally:
            await raw.close()
        assert summaries(await read_updates(updates, 1)) == [(new.id, "created", 1)]


async def test_terminated_connections_lose_no_update(migrated: str) -> None:
    async with (
        replica(migrated) as here,
        replica(migrated) as there,
        there.feed.subscribe("", None) as updates,
    ):
        watcher = await connect(migrated)
        try:
            for _ in range(3):
                made = [await here.records.insert(record()) for _ in range(5)]
                await watcher.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                assert summaries(await read_updates(updates, 5)) == [
                    (new.id, "created", 1) for new in made
                ]
                await wait_until_pool_works(here)
        finally:
            await watcher.close()


async def wait_until_pool_works(place: Replica) -> None:
    """Wait until the pool has replaced its lost connections."""
    async with asyncio.timeout(10):
        while True:
            try:
                await asyncio.gather(*(place.pool.ping() for _ in range(6)))
            except DatabaseError:
                continue
            return


async def test_what_is_too_old_is_deleted_and_its_position_gives_a_resync(one: Replica) -> None:
    async with one.feed.subscribe("", None) as updates:
        for _ in range(7):
            await one.records.insert(record())
        received = await read_updates(updates, 7)
    assert await one.changes.trim(3600, 3) == 0
    assert [await one.changes.trim(0, 3) for _ in range(2)] == [3, 3]
    async with one.feed.subscribe("", received[5].position) as updates:
        assert await read_updates(updates, 1) == received[6:]
    for old in received[:5]:
        assert (await one.changes.read(decode_position(old.position), 9, 10**6)).gap
    async with one.feed.subscribe("", received[0].position) as updates:
        new = await one.records.insert(record())
        resync, created = await read_updates(updates, 2)
    assert (resync.kind, created.id) == ("resync", new.id)


async def test_retention_trims_until_nothing_is_old(one: Replica) -> None:
    for _ in range(7):
        await one.records.insert(record())
    retention = RecordChangesRetention(one.changes, RecordingLog(), keep=0, every=600, batch=2)
    await retention.stop()
    await retention.start()
    async with asyncio.timeout(10):
        while await logged(one):  # noqa: ASYNC110 - what counts is in the database
            await asyncio.sleep(0.01)
    await retention.stop()


async def test_retention_keeps_up_with_a_hundred_thousand_changes(one: Replica) -> None:
    new = await one.records.insert(record())
    await one.pool.execute(
        "INSERT INTO record_changes (settled, kind, record_id, version, changed_at, name)"
        " SELECT settled, 'replaced', record_id, 2, now() - interval '2 hours', name"
        " FROM record_changes, generate_series(1, 100000)"
    )
    await one.pool.execute(
        "DELETE FROM record_changes WHERE record_id = $1 AND version = 1", new.id
    )
    fresh = await one.records.insert(record())
    retention = RecordChangesRetention(one.changes, RecordingLog(), keep=3600)
    await retention.start()
    async with asyncio.timeout(60):
        while await logged(one) > 1:  # noqa: ASYNC110 - what counts is in the database
            await asyncio.sleep(0.01)
    await retention.stop()
    assert await one.pool.fetchval("SELECT record_id FROM record_changes") == fresh.id


async def test_one_replica_trims_at_a_time(one: Replica) -> None:
    await one.records.insert(record())
    async with one.pool.transaction() as tx:
        await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('record_changes', 0))")
        assert await one.changes.trim(0, 10) == 0
    assert await one.changes.trim(0, 10) == 1


async def test_a_position_in_the_future_gives_a_resync(one: Replica) -> None:
    future = Position((await one.changes.now()).settled + 1000, 1)
    assert (await one.changes.read(future, 1, 10**6)).gap
