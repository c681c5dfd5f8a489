"""Insertions that take effect once for each idempotency key, with the first answer kept.

Invariant: a key and its answer are committed with the rows that they stand for, or none of them is.
The answer is stored as it was given, because what it tells of may have been changed or deleted when
the request comes again. A second process with the same key waits for the first one's commit, and
gives its answer. Insertions without a key do not come here, and pay nothing for it. Rejected: a
column of the inserted row, which is gone when the row is.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, LiteralString, TypeVar

import msgspec

from paceline.coalesce import Observer, WriteCoalescer
from paceline.errors import Code, Error
from paceline.idempotency import IdempotencyKey, KeyReused, KeysInFlight
from paceline.postgres.connection import Connection
from paceline.postgres.pool import Pool

T = TypeVar("T")

IDEMPOTENCY_SCHEMA: Final[LiteralString] = """
    CREATE TABLE idempotency_answers (
        subject     text        NOT NULL,
        key         text        NOT NULL,
        fingerprint bytea       NOT NULL,
        answer      bytea       NOT NULL,
        created_at  timestamptz NOT NULL DEFAULT statement_timestamp(),
        PRIMARY KEY (subject, key)
    );
    CREATE INDEX idempotency_answers_by_age ON idempotency_answers (created_at);
"""
"""What a service's migration has to create; `RowCleaner` deletes what is old."""

_CLAIM: Final[LiteralString] = """
    INSERT INTO idempotency_answers (subject, key, fingerprint, answer)
    SELECT subject, key, fingerprint, answer
    FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[])
        WITH ORDINALITY AS request (subject, key, fingerprint, answer, place)
    ORDER BY place
    ON CONFLICT DO NOTHING
    RETURNING subject, key
"""
_FIRST: Final[LiteralString] = """
    SELECT subject, key, fingerprint, answer
    FROM unnest($1::text[], $2::text[]) AS requested (subject, key)
    JOIN idempotency_answers USING (subject, key)
"""


@dataclass(frozen=True, slots=True, eq=False)
class _Request(Generic[T]):
    item: T
    key: IdempotencyKey


class KeyedInserts(Generic[T]):
    """Inserts items of ``type`` by ``insert``, which gets those of a batch in its transaction.

        keyed = KeyedInserts(pool, insert_all, Account, name="opening accounts")
        account = await keyed.insert(account, key)

    ``name`` is for errors, metrics and spans; ``on_commit`` is called after each commit that
    inserted something. *Resources*: a task for the batch in flight; `parts` start and stop it.
    """

    def __init__(
        self,
        pool: Pool,
        insert: Callable[[Connection, Sequence[T]], Awaitable[object]],
        type: type[T],  # noqa: A002 - as msgspec's
        *,
        name: str,
        on_commit: Callable[[], None] | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._pool = pool
        self._insert = insert
        self._on_commit = on_commit
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(type)
        self._keys = KeysInFlight()
        self._batches: WriteCoalescer[_Request[T], T] = WriteCoalescer(
            self._insert_all, name=f"{name} with keys", observer=observer
        )

    @property
    def parts(self) -> Sequence[object]:
        """What starts, stops and measures its batches."""
        return (self._batches,)

    async def insert(self, item: T, key: IdempotencyKey) -> T:
        """Insert ``item``; with a key that was used for it before, gives the first answer again.

        Errors: KeyReused, KeyInFlight; those of ``insert``, which leave the key unused.
        """
        with self._keys.hold(key):
            return await self._batches.call(_Request(item, key))

    async def _insert_all(self, requests: Sequence[_Request[T]]) -> Sequence[T | Exception]:
        async with self._pool.transaction() as tx:
            new = await _claim(tx, requests)
            items = [each.item for each in requests if _place(each.key) in new]
            if items:
                await self._insert(tx, items)
            repeated = [each.key for each in requests if _place(each.key) not in new]
            first = await self._first_answers(tx, repeated) if repeated else {}
        if items and self._on_commit is not None:
            self._on_commit()
        return [first.get(_place(each.key), each.item) for each in requests]

    async def _first_answers(
        self, tx: Connection, keys: Sequence[IdempotencyKey]
    ) -> dict[tuple[str, str], T | Exception]:
        rows = await tx.fetch(_FIRST, [key.subject for key in keys], [key.text for key in keys])
        stored = {(row[0], row[1]): (row[2], row[3]) for row in rows}
        return {_place(key): self._answer(key, *stored[_place(key)]) for key in keys}

    def _answer(self, key: IdempotencyKey, fingerprint: bytes, answer: bytes) -> T | Exception:
        if fingerprint != key.fingerprint:
            return KeyReused()
        try:
            return self._decoder.decode(answer)
        except msgspec.DecodeError:
            # The type has changed since: the request is not repeated, but cannot be answered.
            message = "the request with this Idempotency-Key took effect; its answer is too old"
            return Error(Code.FAILED_PRECONDITION, message)


async def _claim(tx: Connection, requests: Sequence[_Request[T]]) -> set[tuple[str, str]]:
    """Claim the keys, in their order, so that two batches cannot deadlock; gives the new ones."""
    ordered = sorted(requests, key=lambda each: _place(each.key))
    rows = await tx.fetch(
        _CLAIM,
        [each.key.subject for each in ordered],
        [each.key.text for each in ordered],
        [each.key.fingerprint for each in ordered],
        [msgspec.json.encode(each.item) for each in ordered],
    )
    return {(row[0], row[1]) for row in rows}


def _place(key: IdempotencyKey) -> tuple[str, str]:
    return key.subject, key.text
