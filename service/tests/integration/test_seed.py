"""``seed``: sample data that is made once."""

import asyncio

import pytest

from myservice.config import Config
from myservice.repository.ledger_audit import PgLedgerAudit
from myservice.seed import seed
from paceline.config import SecretUrl
from paceline.postgres import Pool

pytestmark = pytest.mark.integration
TABLES = ("records", "accounts", "transfers", "orders", "outbox")


async def test_running_it_twice_changes_nothing(migrated: str, pool: Pool) -> None:
    config = Config(database_url=SecretUrl(migrated))

    async def contents() -> list[object]:
        return [
            [tuple(row) for row in await pool.fetch(f"SELECT * FROM {table} ORDER BY id")]  # noqa: S608
            for table in TABLES
        ]

    made = await asyncio.to_thread(seed, config)
    assert made == {"records": 5, "accounts": 3, "orders": 2}
    before = await contents()
    assert all(before), "each table has some"
    assert await asyncio.to_thread(seed, config) == {"records": 0, "accounts": 0, "orders": 0}
    assert await contents() == before
    audit = await PgLedgerAudit(pool).run()
    assert audit.clean
    assert audit.total_balance == 125_000


async def test_what_was_deleted_comes_back(migrated: str, pool: Pool) -> None:
    config = Config(database_url=SecretUrl(migrated))
    await asyncio.to_thread(seed, config)
    await pool.execute("DELETE FROM records WHERE name = 'beta'")
    assert (await asyncio.to_thread(seed, config))["records"] == 1
