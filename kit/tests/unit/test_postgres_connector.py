"""Addresses are shown without their secrets; unreachable servers and bad addresses are errors."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paceline.concurrency.deadline import fail_after
from paceline.errors import Code, chain
from paceline.postgres import DatabaseError, Pool, PoolSettings, connect
from paceline.postgres.connector import describe_dsn


@dataclass(frozen=True)
class Case:
    dsn: str
    shown: str


CASES = (
    Case("postgresql://u:secret@db:5433/app", "database app on db:5433"),
    Case("postgresql://u:secret@db/app?sslmode=require", "database app on db"),
    Case("postgresql://u:secret@[::1]:5432/app", "database app on [::1]:5432"),
    Case("postgresql://u:secret@a:1,b:2/app", "database app on a:1,b:2"),
    Case("postgresql://postgres@/db?host=/tmp/x&port=5432", "database db on /tmp/x:5432"),
    Case("postgresql:///app", "database app"),
    Case("postgresql://db", "the database on db"),
    Case("", "the database"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.dsn)
def test_host_port_and_database_are_shown(case: Case) -> None:
    assert describe_dsn(case.dsn) == case.shown


@given(st.text(min_size=1))
@example("sec/ret@pass#word")
@example("12/secret")
@example("what?now")
@example("[secret")
def test_nothing_of_a_password_is_shown_escaped_or_not(password: str) -> None:
    safe = {"database app on db.internal:5432", "the database"}
    for written in (password, quote(password, safe="")):
        assert describe_dsn(f"postgresql://user:{written}@db.internal:5432/app") in safe
    query = quote(password, safe="")
    assert describe_dsn(f"postgresql://db.internal:5432/app?password={query}") in safe


async def test_an_invalid_address_is_not_quoted() -> None:
    with pytest.raises(DatabaseError) as caught:
        await connect("mysql://user:secret@db/app")
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert "secret" not in chain(caught.value)


async def test_an_unreachable_server_is_named_in_the_error(tmp_path: Path) -> None:
    pool = Pool(
        f"postgresql://u:secret@/app?host={tmp_path}&port=5432", PoolSettings(start_timeout=0.05)
    )
    with pytest.raises(DatabaseError) as caught:
        await pool.start()
    assert caught.value.code is Code.UNAVAILABLE
    assert caught.value.message == (
        f"cannot connect to database app on {tmp_path}:5432: no such socket"
    )
    assert "secret" not in chain(caught.value)
    await pool.stop()


async def test_the_wait_for_a_server_ends_with_the_ambient_deadline(tmp_path: Path) -> None:
    started = asyncio.get_running_loop().time()
    with pytest.raises(DatabaseError, match="no such socket"):
        async with fail_after(0.1, "start"):
            await connect(f"postgresql://u@/app?host={tmp_path}", timeout=60)
    assert asyncio.get_running_loop().time() - started < 5


async def test_a_pool_that_is_not_started_raises_and_can_be_stopped() -> None:
    pool = Pool("postgresql://db/app")
    with pytest.raises(DatabaseError, match="the database pool is stopped"):
        await pool.fetchval("SELECT 1")
    await pool.stop()
    assert (pool.size, pool.in_use) == (0, 0)


@pytest.mark.parametrize(("min_size", "max_size"), [(6, 5), (0, 0)])
def test_impossible_sizes_are_refused(min_size: int, max_size: int) -> None:
    with pytest.raises(ValueError, match="a pool cannot have"):
        Pool("postgresql://db/app", PoolSettings(min_size=min_size, max_size=max_size))
