"""The ledger in PostgreSQL under competition: replicas, keys, cancellation, and the audit."""

import asyncio
import random
from dataclasses import dataclass
from uuid import UUID

import pytest
from funded_accounts import NOW, open_funded_accounts

from myservice.domain.ledger import (
    Entry,
    InsufficientBalance,
    Transfer,
)
from myservice.repository.accounts import PgAccounts
from myservice.repository.ledger import PgLedger
from myservice.repository.ledger_audit import PgLedgerAudit
from paceline.idempotency import IdempotencyKey, KeyInFlight, KeyReused
from paceline.postgres import Pool, connect, uuid7
from paceline.testing import cancel_at_every_await

pytestmark = pytest.mark.integration


def entry(
    source: UUID | None, target: UUID, amount: int, key: IdempotencyKey | None = None
) -> Entry:
    return Entry(uuid7(), source, target, amount, "", NOW, key=key)


async def test_replicas_on_few_accounts_neither_deadlock_nor_lose_anything(
    pool: Pool, other_pool: Pool, migrated: str
) -> None:
    ids = await open_funded_accounts(pool, 4, 1000)
    replicas = [PgLedger(pool), PgLedger(other_pool)]
    rng = random.Random(7)  # noqa: S311 - repeatable, on purpose
    made: list[Transfer] = []

    async def client(ledger: PgLedger, number: int) -> None:
        for turn in range(20):
            source, target = rng.sample(ids, 2)
            key = IdempotencyKey("ada", f"{number}-{turn}", b"") if turn % 2 else None
            try:
                made.append(await ledger.enter(entry(source, target, rng.randint(1, 400), key)))
            except InsufficientBalance:
                continue

    async with asyncio.timeout(50), asyncio.TaskGroup() as group:
        for number in range(32):
            group.create_task(client(replicas[number % 2], number))

    audit = await PgLedgerAudit(pool).run()
    assert audit.faults == ()
    assert audit.total_balance == 4000
    assert audit.entries == len(made) + len(ids)
    watcher = await connect(migrated)
    deadlocks = await watcher.fetchval(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    await watcher.close()
    assert deadlocks == 0


async def test_one_key_on_two_replicas_takes_effect_once(pool: Pool, other_pool: Pool) -> None:
    a, b = await open_funded_accounts(pool, 2, 100)
    key = IdempotencyKey("ada", "once", b"digest")
    first, second = await asyncio.gather(
        PgLedger(pool).enter(entry(a, b, 10, key)), PgLedger(other_pool).enter(entry(a, b, 10, key))
    )
    assert first == second
    assert (await PgAccounts(pool).get(a)).balance == 90


async def test_one_key_for_two_requests_on_two_replicas_serves_one_of_them(
    pool: Pool, other_pool: Pool
) -> None:
    a, b, c, d = await open_funded_accounts(pool, 4, 100)
    results = await asyncio.gather(
        PgLedger(pool).enter(entry(a, b, 10, IdempotencyKey("ada", "once", b"one"))),
        PgLedger(other_pool).enter(entry(c, d, 10, IdempotencyKey("ada", "once", b"two"))),
        return_exceptions=True,
    )
    assert sorted(type(result).__name__ for result in results) == [KeyReused.__name__, "Transfer"]
    audit = await PgLedgerAudit(pool).run()
    assert (audit.faults, audit.entries) == ((), 5)


async def test_a_second_request_with_a_key_in_flight_is_refused_at_once(pool: Pool) -> None:
    a, b = await open_funded_accounts(pool, 2, 100)
    ledger, key = PgLedger(pool), IdempotencyKey("ada", "once", b"digest")
    first, second = await asyncio.gather(
        ledger.enter(entry(a, b, 10, key)),
        ledger.enter(entry(a, b, 10, key)),
        return_exceptions=True,
    )
    assert isinstance(first, Transfer)
    assert isinstance(second, KeyInFlight)
    assert await ledger.enter(entry(a, b, 10, key)) == first


async def test_a_caller_cancelled_anywhere_leaves_entries_whole_and_the_key_usable(
    pool: Pool,
) -> None:
    a, b = await open_funded_accounts(pool, 2, 1000)
    ledger, key = PgLedger(pool), IdempotencyKey("ada", "cancelled", b"digest")

    async def work() -> None:
        await ledger.enter(entry(a, b, 10, key))
        await ledger.enter(entry(a, b, 1))

    async def check() -> None:
        assert (await PgLedgerAudit(pool).run()).faults == ()
        await ledger.enter(entry(a, b, 10, key))

    assert await cancel_at_every_await(work, check) >= 2
    row = await pool.fetchval("SELECT count(*) FROM transfers WHERE amount = 10")
    assert row == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transfers SET amount = 1",
        "DELETE FROM transfers",
        "TRUNCATE transfers",
        "DELETE FROM accounts",
    ],
)
async def test_entries_are_append_only(pool: Pool, migrated: str, statement: str) -> None:
    await open_funded_accounts(pool, 1, 100)
    connection = await connect(migrated)
    try:
        with pytest.raises(Exception, match="append-only"):
            await connection.execute(statement)
    finally:
        await connection.close()


@dataclass(frozen=True)
class Tampering:
    id: str
    statement: str
    fault: str | None


_ORDER = (
    "INSERT INTO orders (id, placed_by, from_id, to_id, amount, reference, created_at,"
    " status, reason, decided_at) SELECT '0192f0a0-0000-7000-8000-000000000001', 'ada', id,"
    " gen_random_uuid(), 5, '', now(), {} FROM accounts;"
)
_ENTRY = (
    "INSERT INTO transfers SELECT '0192f0a0-0000-7000-8000-000000000001', NULL, id, 5, '', NULL, 105,"
    " now() FROM accounts"
)
TAMPERING = [
    Tampering("nothing", "SELECT 1", None),
    Tampering("a balance", "UPDATE accounts SET balance = balance + 1", "holds 101"),
    Tampering(
        "an entry of a missing account",
        "INSERT INTO transfers SELECT gen_random_uuid(), NULL, gen_random_uuid(), 5, '', NULL, 5, now()",
        "does not exist and its entries come to 5",
    ),
    Tampering(
        "a key of nothing",
        "INSERT INTO idempotency_keys SELECT 'ada', 'k', '', gen_random_uuid(), NULL, NULL, now()",
        "names no entry",
    ),
    Tampering("a pending order", _ORDER.format("'pending', NULL, NULL"), None),
    Tampering("a refused order", _ORDER.format("'refused', 'x', now()"), None),
    Tampering(
        "a paid order without its entry", _ORDER.format("'paid', NULL, now()"), "has no entry"
    ),
    Tampering(
        "a paid order with another entry",
        _ORDER.format("'paid', NULL, now()") + _ENTRY,
        "has another entry than it says",
    ),
    Tampering(
        "a refused order with an entry",
        _ORDER.format("'refused', 'x', now()") + _ENTRY,
        "is refused and has an entry",
    ),
    Tampering(
        "a pending order with an entry",
        _ORDER.format("'pending', NULL, NULL") + _ENTRY,
        "is pending and has an entry",
    ),
]


@pytest.mark.parametrize("case", TAMPERING, ids=lambda case: case.id)
async def test_the_audit_finds_what_does_not_add_up(
    pool: Pool, migrated: str, case: Tampering
) -> None:
    await open_funded_accounts(pool, 1, 100)
    connection = await connect(migrated)
    await connection.execute(case.statement)
    await connection.close()
    audit = await PgLedgerAudit(pool).run()
    assert audit.clean == (case.fault is None)
    assert case.fault is None or any(case.fault in found for found in audit.faults), audit.faults
