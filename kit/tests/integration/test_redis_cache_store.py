"""What any cache store must do: one suite for the fake and for a real Valkey."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_store import MemoryStore
from valkey import Valkey, redis_server

from paceline.clock import SystemClock
from paceline.redis import CacheStore, ChangeKind, EntryChange, Redis, RedisStore
from paceline.testing import RecordingLog

__all__ = ["redis_server"]
pytestmark = pytest.mark.integration

FILL, BLOCK, RELEASE = ChangeKind.FILL, ChangeKind.BLOCK, ChangeKind.RELEASE


@pytest.fixture(params=["memory", "valkey"])
async def store(request: pytest.FixtureRequest) -> AsyncGenerator[CacheStore]:
    """Each implementation in turn, empty."""
    if request.param == "memory":
        yield MemoryStore(SystemClock())
        return
    server: Valkey = request.getfixturevalue("redis")
    redis = Redis(server.url, RecordingLog(), SystemClock(), timeout=5.0)
    await redis.start()
    yield RedisStore(redis, name=uuid4().hex)
    await redis.stop()


async def lease(store: CacheStore, key: str = "a") -> str:
    return (await store.lease([key], 60.0))[0].token


async def fill(store: CacheStore, token: str, value: bytes = b"v", key: str = "a") -> bool:
    return (await store.change([EntryChange(FILL, key, token, 60.0, value)]))[0]


async def change(
    store: CacheStore, kind: ChangeKind, token: str = "", seconds: float = 60.0
) -> None:
    assert [*await store.change([EntryChange(kind, "a", token, seconds)])] == [True]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)


async def test_what_was_filled_under_a_lease_is_read(store: CacheStore) -> None:
    assert [*await store.read(["a", "b"])] == [None, None]
    assert await fill(store, await lease(store), b"\x00\xff\r\n")
    assert [*await store.read(["a", "b", "a"])] == [b"\x00\xff\r\n", None, b"\x00\xff\r\n"]


async def test_readers_share_a_lease_and_one_of_them_made_it(store: CacheStore) -> None:
    first, second = [(await store.lease(["a"], 60.0))[0] for _ in range(2)]
    assert (first.new, second.new) == (True, False)
    assert first.token == second.token
    assert await fill(store, first.token)
    assert not await fill(store, second.token, b"late")
    assert [*await store.read(["a"])] == [b"v"]


@pytest.mark.parametrize("kind", [BLOCK, RELEASE])
async def test_a_change_takes_the_value_and_the_lease_away(
    store: CacheStore, kind: ChangeKind
) -> None:
    await fill(store, await lease(store))
    token = await lease(store)
    await change(store, kind, "w")
    assert [*await store.read(["a"])] == [None]
    assert not await fill(store, token)
    assert [*await store.read(["a"])] == [None]


async def test_without_its_lease_a_fill_is_refused(store: CacheStore) -> None:
    assert not await fill(store, "made up")
    await lease(store)
    assert not await fill(store, "made up")


async def test_a_blocked_entry_gives_no_lease_until_the_last_writer_is_done(
    store: CacheStore,
) -> None:
    await change(store, BLOCK, "one")
    await change(store, BLOCK, "two")
    assert await lease(store) == ""
    await change(store, RELEASE, "one")
    assert await lease(store) == ""
    await change(store, RELEASE, "somebody")
    await change(store, RELEASE)
    assert await lease(store) == ""
    await change(store, RELEASE, "two")
    assert await lease(store) != ""


async def test_a_block_expires_and_a_longer_one_stays(store: CacheStore) -> None:
    await change(store, BLOCK, "long", 60.0)
    await change(store, BLOCK, "short", 0.02)
    await change(store, RELEASE, "long")

    async def unblocked() -> bool:
        return await lease(store) != ""

    await until(unblocked)
    await change(store, BLOCK, "long", 60.0)
    await change(store, BLOCK, "short", 0.001)
    await asyncio.sleep(0.01)
    assert await lease(store) == ""


async def test_values_and_leases_expire(store: CacheStore) -> None:
    token = await lease(store)
    await store.change([EntryChange(FILL, "a", token, 0.02, b"v")])

    async def gone() -> bool:
        return (await store.read(["a"]))[0] is None

    await until(gone)
    short = (await store.lease(["a"], 0.02))[0].token

    async def another() -> bool:
        return await lease(store) != short

    await until(another)
    assert not await fill(store, short)


async def test_many_changes_are_applied_in_order(store: CacheStore) -> None:
    token = await lease(store)
    done = await store.change(
        [
            EntryChange(FILL, "a", token, 60.0, b"v"),
            EntryChange(FILL, "b", token, 60.0, b"w"),
            EntryChange(BLOCK, "a", "w", 60.0),
            EntryChange(FILL, "a", token, 60.0, b"x"),
            EntryChange(RELEASE, "a", "w"),
        ]
    )
    assert [*done] == [True, False, True, False, True]
    assert [*await store.read(["a", "b"])] == [None, None]


async def test_a_key_may_be_any_text(store: CacheStore) -> None:
    keys = ["", " ", "\r\n", "é☃", "x" * 1000, "x" * 1001]
    tokens = [found.token for found in await store.lease(keys, 60.0)]
    fills = [
        EntryChange(FILL, key, token, 60.0, key.encode())
        for key, token in zip(keys, tokens, strict=True)
    ]
    assert all(await store.change(fills))
    assert [*await store.read(keys)] == [key.encode() for key in keys]


@dataclass(frozen=True)
class Step:
    """One call, and the token to use: a number of those seen so far."""

    kind: str
    key: str
    token: int


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from(["read", "lease", "fill", "block", "release"]),
        st.sampled_from("ab"),
        st.integers(0, 3),
    ),
    max_size=40,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=steps)
def test_the_fake_and_the_real_one_agree(redis: Valkey, steps: list[Step]) -> None:
    asyncio.run(compare(redis, steps))


async def compare(server: Valkey, steps: list[Step]) -> None:
    redis = Redis(server.url, RecordingLog(), SystemClock(), timeout=5.0)
    await redis.start()
    stores: list[CacheStore] = [MemoryStore(SystemClock()), RedisStore(redis, name=uuid4().hex)]
    tokens: list[list[str]] = [["none"], ["none"]]
    for step in steps:
        seen: list[object] = []
        for store, own in zip(stores, tokens, strict=True):
            if step.kind == "read":
                seen.append(await store.read([step.key]))
            elif step.kind == "lease":
                found = (await store.lease([step.key], 60.0))[0]
                own.append(found.token)
                seen.append((found.token == "", found.new))
            else:
                number = min(step.token, len(own) - 1)
                token = own[-1 - number] if step.kind == "fill" else f"w{step.token}"
                value = str(number).encode()
                seen.append(
                    [
                        *await store.change(
                            [EntryChange(ChangeKind(step.kind), step.key, token, 60.0, value)]
                        )
                    ]
                )
        assert seen[0] == seen[1], step
    await redis.stop()
