"""Spans of what goes to PostgreSQL and Redis: what was done, how much came, how it failed."""

import asyncio
from collections.abc import AsyncGenerator
from uuid import uuid4

import pytest
from recorded_spans import RecordedSpans

from paceline.clock import SystemClock
from paceline.engines import RedisEngine
from paceline.postgres import DatabaseError, Pool, PoolSettings
from paceline.redis import CacheAside, CacheSettings, Redis, RedisStore
from paceline.testing import RecordingLog
from paceline.trace import BatchSpans, Span, SpanKind, attach, detach, span

pytestmark = pytest.mark.integration


@pytest.fixture
async def pool(database: str) -> AsyncGenerator[Pool]:
    pool = Pool(database, PoolSettings(min_size=1, max_size=1))
    await pool.start()
    await pool.execute("CREATE TABLE things (id int PRIMARY KEY)")
    yield pool
    await pool.stop()


@pytest.fixture
def recorded() -> RecordedSpans:
    return RecordedSpans()


@pytest.fixture
def root(recorded: RecordedSpans) -> Span:
    """A request's span, for the test to attach: a fixture's context is not the test's."""
    made = recorded.tracer().enter("request", SpanKind.SERVER)
    assert isinstance(made, Span)
    return made


def rows(span: Span) -> object:
    return span.attributes.get("db.response.returned_rows")


async def test_each_statement_has_a_span_with_its_rows(
    pool: Pool, recorded: RecordedSpans, root: Span
) -> None:
    token = attach(root)
    async with pool.transaction() as tx:
        await tx.execute("INSERT INTO things SELECT generate_series(1, 7)")
        await tx.execute("DELETE FROM things WHERE id = $1", 7)
    assert len(await pool.fetch("SELECT id FROM things")) == 6
    assert await pool.fetchrow("SELECT id FROM things WHERE id = $1", 99) is None
    detach(token)
    assert [(each.name, rows(each)) for each in recorded.spans] == [
        ("BEGIN", None), ("INSERT things", 7), ("DELETE things", 1), ("COMMIT", None),
        ("SELECT things", 6), ("SELECT things", 0),
    ]  # fmt: skip
    assert {each.parent_id for each in recorded.spans} == {root.span_id}
    assert not any(each.failed for each in recorded.spans)
    await pool.fetch("SELECT id FROM things")
    assert len(recorded.spans) == 6, "outside the request nothing is recorded"


async def test_a_failure_is_recorded_by_its_code_and_never_by_its_values(
    pool: Pool, recorded: RecordedSpans, root: Span
) -> None:
    token = attach(root)
    await pool.execute("INSERT INTO things VALUES ($1)", 424242)
    with pytest.raises(DatabaseError):
        await pool.execute("INSERT INTO things VALUES ($1)", 424242)
    detach(token)
    _, failed = recorded.spans
    assert failed.failed
    assert failed.attributes["error.type"] == "ALREADY_EXISTS"
    assert failed.attributes["db.response.status_code"] == "23505"
    assert "424242" not in str([each.attributes for each in recorded.spans])


async def test_a_statement_that_is_cancelled_ends_its_span(
    pool: Pool, recorded: RecordedSpans, root: Span
) -> None:
    token = attach(root)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await pool.execute("SELECT pg_sleep(60)")
    detach(token)
    (cut,) = recorded.spans
    assert cut.failed
    assert cut.attributes["error.type"] == "CancelledError"


async def test_a_wait_for_a_connection_has_a_span(
    pool: Pool, recorded: RecordedSpans, root: Span
) -> None:
    token = attach(root)
    async with pool.connection():
        waiting = asyncio.create_task(pool.fetchval("SELECT 1"))
        await asyncio.sleep(0)  # a turn of the loop: now it waits
    assert await waiting == 1
    detach(token)
    names = [each.name for each in recorded.spans]
    assert names == ["RESET", "waiting for a database connection", "SELECT"]


async def test_a_read_through_the_cache_is_one_trace(
    redis: RedisEngine, recorded: RecordedSpans, root: Span
) -> None:
    log, clock = RecordingLog(), SystemClock()
    server = Redis(redis.url, log, clock, timeout=5.0)
    cache = CacheAside(
        RedisStore(server, name=uuid4().hex), log, clock,
        name="things", type=int, settings=CacheSettings(ttl=60.0), observer=BatchSpans(),
    )  # fmt: skip
    await server.start()
    token = attach(root)

    async def fetch() -> int:
        with span("SELECT things"):
            return 7

    assert await cache.get_or_fetch("7", fetch) == 7
    assert await cache.get_or_fetch("7", fetch) == 7
    root.end()
    detach(token)
    await cache.stop()
    await server.stop()
    assert {each.trace_id for each in recorded.spans} == {root.trace_id}
    tree = recorded.tree()
    assert tree.count(("reading cached things", "request")) == 2
    assert tree.count(("MGET", "reading cached things")) == 2
    assert tree.count(("SELECT things", "request")) == 1
    assert ("EVALSHA", "changing cached things") in tree
