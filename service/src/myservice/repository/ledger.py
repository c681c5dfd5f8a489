"""The ledger in PostgreSQL: a batch of entries is one transaction and one commit.

A batch claims its idempotency keys in key order, locks its accounts in id order, decides entry by
entry in order of arrival (`domain.ledger.Balances`), and writes balances, entries and the outcomes
of the keys. Invariant: every batch of every replica takes its locks in the order given in
``myservice.repository``, so none can deadlock. When another replica has claimed a key, the batch
waits for its commit and then gives the same answer.
"""

from collections.abc import Sequence
from typing import Final, LiteralString
from uuid import UUID

from myservice.domain.accounts import AccountNotFound, NotTheOwner
from myservice.domain.ledger import (
    BalanceOverflow,
    Balances,
    Entry,
    InsufficientBalance,
    Transfer,
    shown_to,
)
from paceline.coalesce import Observer, WriteCoalescer
from paceline.errors import Error, wrap
from paceline.idempotency import IdempotencyKey, KeyReused, KeysInFlight
from paceline.postgres import Connection, Pool, Row

_CLAIM: Final[LiteralString] = """
    INSERT INTO idempotency_keys (subject, key, fingerprint, transfer_id, created_at)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::uuid[], $5::timestamptz[])
    ON CONFLICT DO NOTHING
    RETURNING transfer_id
"""
_FIRST_OUTCOMES: Final[LiteralString] = """
    SELECT
        subject, key, fingerprint, refusal, detail, transfers.id, from_id, to_id, amount, reference,
        from_balance, to_balance, transfers.created_at, receiver.owner AS receiver
    FROM unnest($1::text[], $2::text[]) AS requested (subject, key)
    JOIN idempotency_keys USING (subject, key)
    LEFT JOIN transfers ON transfers.id = transfer_id
    LEFT JOIN accounts AS receiver ON receiver.id = to_id
"""
_LOCK: Final[LiteralString] = """
    SELECT id, owner, balance FROM accounts
    WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE
"""
_WRITE: Final[LiteralString] = """
    WITH moved AS (
        UPDATE accounts SET balance = new.balance
        FROM unnest($1::uuid[], $2::bigint[]) AS new (id, balance)
        WHERE accounts.id = new.id
    )
    INSERT INTO transfers (
        id, from_id, to_id, amount, reference, from_balance, to_balance, created_at
    )
    SELECT * FROM unnest(
        $3::uuid[], $4::uuid[], $5::uuid[], $6::bigint[], $7::text[],
        $8::bigint[], $9::bigint[], $10::timestamptz[]
    )
"""
_REFUSE: Final[LiteralString] = """
    UPDATE idempotency_keys SET transfer_id = NULL, refusal = refused.kind, detail = refused.detail
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
        AS refused (subject, key, kind, detail)
    WHERE idempotency_keys.subject = refused.subject AND idempotency_keys.key = refused.key
"""
_Refusal = type[AccountNotFound | InsufficientBalance | BalanceOverflow | NotTheOwner]
_REFUSALS: Final[dict[str, _Refusal]] = {
    "account-not-found": AccountNotFound,
    "insufficient-balance": InsufficientBalance,
    "balance-overflow": BalanceOverflow,
    "not-the-owner": NotTheOwner,
}

_Outcome = Transfer | Error


class PgLedger:
    """The ``transfers`` table, and the balances, which are the sums of its rows.

    *Resources*: a task for the batch in flight; `stop` waits for it.
    """

    name = "ledger"

    def __init__(self, pool: Pool, *, observer: Observer | None = None) -> None:
        self._pool = pool
        self._keys = KeysInFlight()
        # One batch at a time: on busy accounts a second would only wait for the first one's locks.
        self._entries: WriteCoalescer[Entry, Transfer] = WriteCoalescer(
            self._enter_all, name="entering into the ledger", observer=observer
        )

    @property
    def parts(self) -> Sequence[object]:
        """What starts, stops and measures its batches."""
        return (self._entries,)

    async def enter(self, entry: Entry) -> Transfer:
        """Apply the entry; with a key that was used for it before, gives the first answer again.

        Errors: AccountNotFound, NotTheOwner, InsufficientBalance, BalanceOverflow; KeyReused,
        KeyInFlight.
        """
        with wrap("enter {} of {}", entry.id, entry.amount):
            if entry.key is None:
                return await self._entries.call(entry)
            with self._keys.hold(entry.key):
                return await self._entries.call(entry)

    async def _enter_all(self, entries: Sequence[Entry]) -> Sequence[_Outcome]:
        return await self._pool.transact(lambda tx: enter_all(tx, entries))


async def enter_all(tx: Connection, entries: Sequence[Entry]) -> Sequence[_Outcome]:
    """Apply the entries in the caller's transaction; gives one outcome each, valid if it commits.

    An outcome shows what its entry's debtor may see.

    The caller may have locked what comes before keys in the order of locks, and nothing else.
    """
    repeated = await _claim(tx, entries)
    new = [entry for entry in entries if entry.id not in repeated]
    ids = {account for entry in new for account in (entry.from_id, entry.to_id) if account}
    locked = await tx.fetch(_LOCK, [*ids])
    balances = Balances({row["id"]: (row["owner"], row["balance"]) for row in locked})
    outcomes = {entry.id: balances.apply(entry) for entry in new}
    await _write(tx, balances, [outcomes[entry.id] for entry in new])
    await _write_refusals(tx, new, outcomes)
    return [
        repeated[entry.id] if entry.id in repeated else balances.show(entry, outcomes[entry.id])
        for entry in entries
    ]


async def _claim(tx: Connection, entries: Sequence[Entry]) -> dict[UUID, _Outcome]:
    """Claim the keys of the entries; gives the first outcomes of those that were used before."""
    keyed = sorted(
        ((entry.key, entry) for entry in entries if entry.key is not None),
        key=lambda pair: (pair[0].subject, pair[0].text),
    )
    if not keyed:
        return {}
    claimed = await tx.fetch(
        _CLAIM,
        [key.subject for key, _ in keyed],
        [key.text for key, _ in keyed],
        [key.fingerprint for key, _ in keyed],
        [entry.id for _, entry in keyed],
        [entry.at for _, entry in keyed],
    )
    new = {row["transfer_id"] for row in claimed}
    repeated = [(key, entry) for key, entry in keyed if entry.id not in new]
    if not repeated:
        return {}
    rows = await tx.fetch(
        _FIRST_OUTCOMES, [key.subject for key, _ in repeated], [key.text for key, _ in repeated]
    )
    first = {(row["subject"], row["key"]): row for row in rows}
    return {
        entry.id: _first_outcome(entry.debtor, key, first[key.subject, key.text])
        for key, entry in repeated
    }


def _first_outcome(debtor: str | None, key: IdempotencyKey, row: Row) -> _Outcome:
    """The outcome of the first request with this key; KeyReused if that was another request."""
    if row["fingerprint"] != key.fingerprint:
        return KeyReused()
    if row["refusal"] is not None:
        return _REFUSALS[row["refusal"]](row["detail"])
    made = Transfer(
        row["id"], row["from_id"], row["to_id"], row["amount"], row["reference"],
        row["from_balance"], row["to_balance"], row["created_at"],
    )  # fmt: skip
    return shown_to(debtor, made, row["receiver"])


async def _write(tx: Connection, balances: Balances, outcomes: Sequence[_Outcome]) -> None:
    made = [outcome for outcome in outcomes if isinstance(outcome, Transfer)]
    if not made:
        return
    await tx.execute(
        _WRITE,
        [*balances.changed.keys()],
        [*balances.changed.values()],
        [transfer.id for transfer in made],
        [transfer.from_id for transfer in made],
        [transfer.to_id for transfer in made],
        [transfer.amount for transfer in made],
        [transfer.reference for transfer in made],
        [transfer.from_balance for transfer in made],
        [transfer.to_balance for transfer in made],
        [transfer.created_at for transfer in made],
    )


async def _write_refusals(
    tx: Connection, entries: Sequence[Entry], outcomes: dict[UUID, _Outcome]
) -> None:
    refused = [
        (entry.key, outcome)
        for entry in entries
        if entry.key is not None and isinstance(outcome := outcomes[entry.id], Error)
    ]
    if refused:
        await tx.execute(
            _REFUSE,
            [key.subject for key, _ in refused],
            [key.text for key, _ in refused],
            [error.kind for _, error in refused],
            [error.message for _, error in refused],
        )
