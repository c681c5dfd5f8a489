"""Accounts in PostgreSQL: calls that are in flight together share a statement.

Invariant: a read that starts after a transfer was acknowledged sees it, which is what
``paceline.coalesce`` promises. Balances are written by the ledger only.
"""

from collections.abc import Mapping, Sequence
from typing import Final, LiteralString
from uuid import UUID

from myservice.domain.accounts import Account, AccountNotFound
from paceline.coalesce import Observer, ReadCoalescer, WriteCoalescer
from paceline.errors import wrap
from paceline.idempotency import IdempotencyKey
from paceline.postgres import Connection, KeyedInserts, Pool, ReadPolicy

_COLUMNS: Final = "id, owner, balance, created_at"
_GET: Final[LiteralString] = f"SELECT {_COLUMNS} FROM accounts WHERE id = ANY($1::uuid[])"
_INSERT: Final[LiteralString] = f"""
    INSERT INTO accounts ({_COLUMNS})
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::timestamptz[])
"""


class PgAccounts:
    """The ``accounts`` table.

    *Resources*: a task for each batch in flight; `stop` waits for them.
    """

    name = "accounts"

    def __init__(
        self, pool: Pool, reads: ReadPolicy | None = None, *, observer: Observer | None = None
    ) -> None:
        self._pool = pool
        self._policy = reads or ReadPolicy()
        self._reads: ReadCoalescer[UUID, Account] = ReadCoalescer(
            self._get_all, name="reading accounts", observer=observer
        )
        self._inserts: WriteCoalescer[Account, Account] = WriteCoalescer(
            self._insert_all, name="opening accounts", observer=observer
        )
        self._keyed_inserts: KeyedInserts[Account] = KeyedInserts(
            pool, _insert_all, Account, name="opening accounts", observer=observer
        )

    @property
    def parts(self) -> Sequence[object]:
        """What starts, stops and measures its batches."""
        return (self._reads, self._inserts, *self._keyed_inserts.parts)

    async def insert(self, account: Account, key: IdempotencyKey | None = None) -> Account:
        """Add an account; with a key that was used for it before, gives the first answer again.

        Errors: KeyReused, KeyInFlight.
        """
        with wrap("insert account {}", account.id):
            if key is not None:
                return await self._keyed_inserts.insert(account, key)
            return await self._inserts.call(account)

    async def get(self, account_id: UUID) -> Account:
        """One account. Errors: AccountNotFound."""
        with wrap("query account {}", account_id):
            return await self._reads.call(account_id)

    async def _get_all(self, ids: Sequence[UUID]) -> Mapping[UUID, Account | Exception]:
        rows = await self._policy.batch(lambda: self._pool.fetch(_GET, ids))
        found: dict[UUID, Account | Exception] = {
            row["id"]: Account(row["id"], row["owner"], row["balance"], row["created_at"])
            for row in rows
        }
        for missing in {*ids} - found.keys() if len(found) < len(ids) else ():
            found[missing] = AccountNotFound()
        return found

    async def _insert_all(self, accounts: Sequence[Account]) -> Sequence[Account]:
        await _insert_all(self._pool, accounts)
        return accounts


async def _insert_all(target: Connection | Pool, accounts: Sequence[Account]) -> None:
    await target.execute(
        _INSERT,
        [account.id for account in accounts],
        [account.owner for account in accounts],
        [account.balance for account in accounts],
        [account.created_at for account in accounts],
    )
