"""The audit of the ledger: balances compared with entries, in one snapshot.

Invariant: everything is read in one read-only transaction at repeatable read, so the audit may run
beside a busy service and is about one moment. Each check is a statement that returns the rows that
violate it.
"""

from typing import Final, LiteralString

from myservice.domain.ledger_audit import LedgerAudit
from paceline.errors import wrap
from paceline.postgres import Connection, Pool

_MAX_FAULTS: Final = 20
_TOTALS: Final[LiteralString] = """
    SELECT
        (SELECT count(*) FROM accounts) AS accounts,
        (SELECT count(*) FROM transfers) AS entries,
        (SELECT coalesce(sum(balance), 0) FROM accounts) AS total_balance,
        (SELECT coalesce(sum(amount), 0) FROM transfers WHERE from_id IS NULL) AS total_credited
"""
_WRONG_BALANCES: Final[LiteralString] = """
    WITH sums AS (
        SELECT id, sum(amount) AS entered FROM (
            SELECT to_id AS id, amount FROM transfers
            UNION ALL
            SELECT from_id, -amount FROM transfers WHERE from_id IS NOT NULL
        ) AS moves GROUP BY id
    )
    SELECT id, balance, coalesce(entered, 0) AS entered
    FROM accounts FULL JOIN sums USING (id)
    WHERE balance IS DISTINCT FROM coalesce(entered, 0)
    ORDER BY id LIMIT $1
"""
_DANGLING_KEYS: Final[LiteralString] = """
    SELECT subject, key FROM idempotency_keys
    LEFT JOIN transfers ON transfers.id = transfer_id
    WHERE transfers.id IS NULL AND refusal IS NULL
    ORDER BY subject, key LIMIT $1
"""
_WRONG_ORDERS: Final[LiteralString] = """
    SELECT orders.id, status, transfers.id IS NOT NULL AS entered
    FROM orders LEFT JOIN transfers ON transfers.id = orders.id
    WHERE CASE
        WHEN status = 'paid' THEN
            (transfers.from_id, transfers.to_id, transfers.amount)
                IS DISTINCT FROM (orders.from_id, orders.to_id, orders.amount)
        ELSE transfers.id IS NOT NULL
    END
    ORDER BY orders.id LIMIT $1
"""


class PgLedgerAudit:
    """Reads the whole ledger, which takes seconds for millions of entries."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def run(self) -> LedgerAudit:
        """Audit the ledger as it is now; gives up to twenty faults of each kind."""
        with wrap("audit the ledger"):
            async with self._pool.transaction(isolation="repeatable_read", read_only=True) as tx:
                return await _audit(tx)


async def _audit(tx: Connection) -> LedgerAudit:
    (totals,) = await tx.fetch(_TOTALS)
    balance, credited = int(totals["total_balance"]), int(totals["total_credited"])
    faults = [
        f"account {row['id']} does not exist and its entries come to {row['entered']}"
        if row["balance"] is None
        else f"account {row['id']} holds {row['balance']} and its entries come to {row['entered']}"
        for row in await tx.fetch(_WRONG_BALANCES, _MAX_FAULTS)
    ]
    faults += [
        f"the idempotency key {row['key']!r} of {row['subject']!r} names no entry"
        for row in await tx.fetch(_DANGLING_KEYS, _MAX_FAULTS)
    ]
    for row in await tx.fetch(_WRONG_ORDERS, _MAX_FAULTS):
        entry = "another entry than it says" if row["entered"] else "no entry"
        found = f"has {entry}" if row["status"] == "paid" else "has an entry"
        faults.append(f"order {row['id']} is {row['status']} and {found}")
    if balance != credited:
        faults.append(f"all balances come to {balance} and all credits to {credited}")
    return LedgerAudit(totals["accounts"], totals["entries"], balance, credited, tuple(faults))
