"""Accounts in PostgreSQL that hold an amount, each credited by an entry of the ledger."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

from myservice.domain.accounts import Account
from myservice.domain.ledger import Entry
from myservice.repository.accounts import PgAccounts
from myservice.repository.ledger import PgLedger
from paceline.postgres import Pool, uuid7

NOW = datetime(2026, 11, 24, tzinfo=UTC)


async def open_funded_accounts(pool: Pool, count: int, balance: int) -> list[UUID]:
    """The ids of ``count`` accounts of ada, with ``balance`` each."""
    accounts, ledger = PgAccounts(pool), PgLedger(pool)
    opened = [Account(uuid7(), "ada", 0, NOW) for _ in range(count)]
    await asyncio.gather(*map(accounts.insert, opened))
    credits_ = [Entry(uuid7(), None, account.id, balance, "", NOW) for account in opened]
    await asyncio.gather(*map(ledger.enter, credits_))
    return [account.id for account in opened]
