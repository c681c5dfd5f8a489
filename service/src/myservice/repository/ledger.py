"""The ledger in PostgreSQL: a batch of entries is one transaction and one commit.

Implements ``service.accounts.Ledger``. A batch claims its idempotency keys in key order, locks its
accounts in id order, lets ``domain.ledger.Book`` decide entry by entry in order of arrival, and
writes balances, entries and what the keys came to. Every batch of every replica takes its locks in
the one order that ``repository`` tells, so none can deadlock. A key that another replica holds
makes its batch wait for the other's commit and then gives the same answer. `enter_all` is the same
within somebody else's transaction, for ``payments``. Proofs: ``verify``.
"""

from collections.abc import Sequence
from typing import Final, LiteralString
from uuid import UUID

from myservice.domain.accounts import AccountNotFound, NotTheOwner
from myservice.domain.ledger import (
    BalanceOverflow,
    Book,
    Entry,
    InsufficientBalance,
    Key,
    KeyInFlight,
    KeyReused,
    Transfer,
)
from paceline.coalesce import Observer, WriteCoalescer
from paceline.errors import Error, wrap
from paceline.postgres import Connection, Pool, Row

_CLAIM: Final[LiteralString] = """
    INSERT INTO idempotency_keys (subject, key, fingerprint, transfer_id, created_at)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::uuid[], $5::timestamptz[])
    ON CONFLICT DO NOTHING
    RETURNING transfer_id
"""
_REMEMBERED: Final[LiteralString] = """
    SELECT
        subject, key, fingerprint, refusal, detail, id, from_id, to_id, amount, reference,
        from_balance, to_balance, transfers.created_at
    FROM unnest($1::text[], $2::text[]) AS asked (subject, key)
    JOIN idempotency_keys USING (subject, key)
    LEFT JOIN transfers ON transfers.id = transfer_id
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

_Outcome = Transfer | Exception


class PgLedger:
    """The ``transfers`` table, and the balances that are their sums.

    *Resources*: a task for the trip that is out; `stop` waits for it.
    """

    name = "ledger"

    def __init__(self, pool: Pool, *, observer: Observer | None = None) -> None:
        self._pool = pool
        self._in_flight: set[tuple[str, str]] = set()
        # One batch at a time: on busy accounts a second could only wait for the first one's locks.
        self._entries: WriteCoalescer[Entry, Transfer] = WriteCoalescer(
            self._enter_all, name="entering into the ledger", observer=observer
        )

    @property
    def parts(self) -> Sequence[object]:
        """What starts, stops and measures its batches."""
        return (self._entries,)

    async def enter(self, entry: Entry) -> Transfer:
        """Make the entry; with a key that was used for it already, the first answer again.

        Errors: AccountNotFound, NotTheOwner, InsufficientBalance, BalanceOverflow; KeyReused,
        KeyInFlight.
        """
        with wrap("enter {} of {}", entry.id, entry.amount):
            if entry.key is None:
                return await self._entries.call(entry)
            place = (entry.key.subject, entry.key.text)
            if place in self._in_flight:
                raise KeyInFlight
            self._in_flight.add(place)
            try:
                return await self._entries.call(entry)
            finally:
                self._in_flight.discard(place)

    async def _enter_all(self, entries: Sequence[Entry]) -> Sequence[_Outcome]:
        return await self._pool.transact(lambda tx: enter_all(tx, entries))


async def enter_all(tx: Connection, entries: Sequence[Entry]) -> Sequence[Transfer | Exception]:
    """Make the entries in the caller's transaction; one outcome each, which hold if it commits.

    The caller may hold what comes before keys in the order of locks (``repository``), no more.
    """
    known = await _claim(tx, entries)
    fresh = [entry for entry in entries if entry.id not in known]
    ids = {account for entry in fresh for account in (entry.from_id, entry.to_id) if account}
    locked = await tx.fetch(_LOCK, [*ids])
    book = Book({row["id"]: (row["owner"], row["balance"]) for row in locked})
    outcomes: dict[UUID, _Outcome] = {**known, **{entry.id: book.enter(entry) for entry in fresh}}
    await _write(tx, book, [outcomes[entry.id] for entry in fresh])
    await _remember_refusals(tx, fresh, outcomes)
    return [outcomes[entry.id] for entry in entries]


async def _claim(tx: Connection, entries: Sequence[Entry]) -> dict[UUID, _Outcome]:
    """Take the keys of the entries; gives what the entries came to whose keys were taken before."""
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
    ours = {row["transfer_id"] for row in claimed}
    taken = [(key, entry) for key, entry in keyed if entry.id not in ours]
    if not taken:
        return {}
    rows = await tx.fetch(
        _REMEMBERED, [key.subject for key, _ in taken], [key.text for key, _ in taken]
    )
    before = {(row["subject"], row["key"]): row for row in rows}
    return {entry.id: _again(key, before[key.subject, key.text]) for key, entry in taken}


def _again(key: Key, row: Row) -> _Outcome:
    """The first answer to the request of this key."""
    if row["fingerprint"] != key.fingerprint:
        return KeyReused()
    if row["refusal"] is not None:
        return _REFUSALS[row["refusal"]](row["detail"])
    return Transfer(
        row["id"], row["from_id"], row["to_id"], row["amount"], row["reference"],
        row["from_balance"], row["to_balance"], row["created_at"],
    )  # fmt: skip


async def _write(tx: Connection, book: Book, outcomes: Sequence[_Outcome]) -> None:
    made = [outcome for outcome in outcomes if isinstance(outcome, Transfer)]
    if not made:
        return
    await tx.execute(
        _WRITE,
        [*book.changed.keys()],
        [*book.changed.values()],
        [transfer.id for transfer in made],
        [transfer.from_id for transfer in made],
        [transfer.to_id for transfer in made],
        [transfer.amount for transfer in made],
        [transfer.reference for transfer in made],
        [transfer.from_balance for transfer in made],
        [transfer.to_balance for transfer in made],
        [transfer.created_at for transfer in made],
    )


async def _remember_refusals(
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
