"""What any ledger must do: one suite for the fake and for real PostgreSQL."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import pytest
from memory_accounts import MemoryAccounts

from myservice.domain.accounts import MAX_AMOUNT, Account, AccountNotFound, NotTheOwner
from myservice.domain.ledger import (
    BalanceOverflow,
    Entry,
    InsufficientBalance,
    Transfer,
)
from myservice.repository.accounts import PgAccounts
from myservice.repository.ledger import PgLedger
from myservice.service.accounts import AccountRepository, Ledger
from paceline.idempotency import IdempotencyKey, KeyReused
from paceline.postgres import Pool, uuid7

NOW = datetime(2026, 11, 24, 5, 0, 0, 123456, UTC)
MISSING = UUID("0192f0a0-0000-7000-8000-00000000dead")


@dataclass
class Bank:
    """Accounts and their ledger."""

    accounts: AccountRepository
    ledger: Ledger

    async def open(self, balance: int = 0, owner: str = "ada") -> UUID:
        account = await self.accounts.insert(Account(uuid7(), owner, 0, NOW))
        if balance:
            await self.ledger.enter(entry(None, account.id, balance))
        return account.id

    async def balances(self, *ids: UUID) -> list[int]:
        return [(await self.accounts.get(one)).balance for one in ids]


def entry(
    source: UUID | None,
    target: UUID,
    amount: int,
    *,
    debtor: str | None = None,
    key: IdempotencyKey | None = None,
) -> Entry:
    return Entry(uuid7(), source, target, amount, "rent", NOW, debtor, key)


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.integration)])
def bank(request: pytest.FixtureRequest) -> Bank:
    """Each implementation in turn."""
    if request.param == "memory":
        memory = MemoryAccounts()
        return Bank(memory, memory)
    pool: Pool = request.getfixturevalue("pool")
    return Bank(PgAccounts(pool), PgLedger(pool))


async def test_an_account_is_got_back_as_it_was_opened(bank: Bank) -> None:
    account = Account(uuid7(), "ада 🚲", 0, NOW)
    assert await bank.accounts.insert(account) == account
    assert await bank.accounts.get(account.id) == account
    with pytest.raises(AccountNotFound):
        await bank.accounts.get(MISSING)


async def test_an_entry_moves_the_amount_and_gives_both_balances(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open(5)
    wanted = entry(a, b, 30)
    made = await bank.ledger.enter(wanted)
    assert made == Transfer(wanted.id, a, b, 30, "rent", 70, 35, NOW)
    assert await bank.balances(a, b) == [70, 35]


@pytest.mark.parametrize("keyed", [False, True], ids=["without a key", "with a key, repeated"])
async def test_the_receivers_balance_is_hidden_from_who_may_not_see_that_account(
    bank: Bank, *, keyed: bool
) -> None:
    a, own, other = await bank.open(100), await bank.open(5), await bank.open(5, "bob")
    for target, debtor, seen in ((own, "ada", 6), (other, "ada", None), (other, None, 7)):
        key = IdempotencyKey("ada", f"{target} {debtor}", b"f") if keyed else None
        for _ in range(1 + keyed):
            made = await bank.ledger.enter(entry(a, target, 1, debtor=debtor, key=key))
            assert made.to_balance == seen
    assert await bank.balances(a, own, other) == [97, 6, 7]


async def test_a_credit_comes_from_outside(bank: Bank) -> None:
    a = await bank.open()
    made = await bank.ledger.enter(entry(None, a, 30))
    assert (made.from_id, made.from_balance, made.to_balance) == (None, None, 30)


async def test_what_is_refused_moves_nothing(bank: Bank) -> None:
    a, b, full = await bank.open(10), await bank.open(), await bank.open(MAX_AMOUNT)
    refused = [
        (entry(a, b, 11), InsufficientBalance),
        (entry(a, MISSING, 1), AccountNotFound),
        (entry(MISSING, a, 1), AccountNotFound),
        (entry(None, MISSING, 1), AccountNotFound),
        (entry(a, b, 1, debtor="bob"), NotTheOwner),
        (entry(a, full, 1), BalanceOverflow),
        (entry(None, full, 1), BalanceOverflow),
    ]
    for wanted, kind in refused:
        with pytest.raises(kind):
            await bank.ledger.enter(wanted)
    assert await bank.balances(a, b, full) == [10, 0, MAX_AMOUNT]
    assert (await bank.ledger.enter(entry(a, b, 10, debtor="ada"))).from_balance == 0


async def test_entries_at_once_are_applied_in_order_of_arrival(bank: Bank) -> None:
    a, b, c = await bank.open(10), await bank.open(), await bank.open()
    results = await asyncio.gather(
        *(
            bank.ledger.enter(wanted)
            for wanted in [
                entry(b, c, 10),  # b has nothing yet
                entry(a, b, 10),
                entry(b, c, 7),  # and now it has
                entry(a, c, 1),  # and a has nothing any more
                entry(b, MISSING, 1),
                entry(c, a, 7),
            ]
        ),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [
        InsufficientBalance, Transfer, Transfer, InsufficientBalance, AccountNotFound, Transfer,
    ]  # fmt: skip
    assert await bank.balances(a, b, c) == [7, 3, 0]


async def test_a_key_makes_an_entry_take_effect_once(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    key = IdempotencyKey("ada", "k1", b"digest")
    first = await bank.ledger.enter(entry(a, b, 30, key=key))
    again = await bank.ledger.enter(entry(a, b, 30, key=key))
    assert again == first
    assert await bank.balances(a, b) == [70, 30]
    with pytest.raises(KeyReused):
        await bank.ledger.enter(entry(a, b, 31, key=IdempotencyKey("ada", "k1", b"other")))
    await bank.ledger.enter(entry(a, b, 30, key=IdempotencyKey("bob", "k1", b"digest")))
    assert await bank.balances(a, b) == [40, 60]


async def test_a_refusal_is_given_again_too(bank: Bank) -> None:
    a, b = await bank.open(), await bank.open()
    poor = IdempotencyKey("ada", "poor", b"1")
    with pytest.raises(InsufficientBalance) as first:
        await bank.ledger.enter(entry(a, b, 1, key=poor))
    missing = IdempotencyKey("ada", "missing", b"2")
    with pytest.raises(AccountNotFound, match=str(MISSING)):
        await bank.ledger.enter(entry(a, MISSING, 1, key=missing))
    await bank.ledger.enter(entry(None, a, 10))
    with pytest.raises(InsufficientBalance) as again:
        await bank.ledger.enter(entry(a, b, 1, key=poor))
    assert again.value.message == first.value.message
    with pytest.raises(AccountNotFound, match=str(MISSING)):
        await bank.ledger.enter(entry(a, MISSING, 1, key=missing))
    assert await bank.balances(a, b) == [10, 0]


async def test_keyed_and_plain_entries_share_a_batch(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    old = IdempotencyKey("ada", "old", b"1")
    first = await bank.ledger.enter(entry(a, b, 1, key=old))
    results = await asyncio.gather(
        bank.ledger.enter(entry(a, b, 2)),
        bank.ledger.enter(entry(a, b, 1, key=old)),
        bank.ledger.enter(entry(a, b, 500, key=IdempotencyKey("ada", "poor", b"2"))),
        bank.ledger.enter(entry(a, b, 3, key=IdempotencyKey("ada", "new", b"3"))),
        bank.ledger.enter(entry(a, b, 9, key=IdempotencyKey("ada", "old!", b"4"))),
        return_exceptions=True,
    )
    assert results[1] == first
    assert isinstance(results[2], InsufficientBalance)
    assert await bank.balances(a, b) == [85, 15]
