"""The ``outbox`` table: its schema, and the statements that write, select and delete messages.

Invariant: order is decided by ``position`` alone, never by a clock. It is drawn when a row is
written, so two transactions that exclude each other (both change the same row, say) get theirs in
the order in which they commit; that is the order of a key. The clocks of processes differ, so ids
made from them would not do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, LiteralString

import msgspec

from paceline.messaging import Message
from paceline.postgres import Connection, Pool, Row

OUTBOX_SCHEMA: Final[LiteralString] = """
    CREATE TABLE outbox (
        position   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id         text        NOT NULL,
        subject    text        NOT NULL,
        key        text        NOT NULL,
        data       bytea       NOT NULL,
        headers    json        NOT NULL,
        created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
        attempts   int         NOT NULL DEFAULT 0,
        retry_at   timestamptz
    ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
    CREATE INDEX outbox_failed ON outbox (key) WHERE retry_at IS NOT NULL;
"""
"""What a service's migration has to create.

Rows live for milliseconds, so the table is vacuumed after so many, whatever its size.
"""

_ENQUEUE: Final[LiteralString] = """
    INSERT INTO outbox (id, subject, key, data, headers)
    SELECT id, subject, key, data, headers
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::json[])
        WITH ORDINALITY AS message (id, subject, key, data, headers, place)
    ORDER BY place
"""
# By the table's own number, so schemas of one database have locks of their own.
_TRY_LOCK: Final[LiteralString] = (
    "SELECT pg_try_advisory_xact_lock('outbox'::regclass::oid::bigint)"
)
_HAS_DUE: Final[LiteralString] = """
    SELECT EXISTS (
        SELECT FROM outbox WHERE retry_at IS NULL OR retry_at <= statement_timestamp()
    )
"""
# One moment for the whole statement: if a failed message were still waiting, and the one behind it
# judged a microsecond later, that one would overtake it.
_FETCH_DUE: Final[LiteralString] = """
    SELECT position, id, subject, key, data, headers, attempts
    FROM outbox AS message
    WHERE (retry_at IS NULL OR retry_at <= statement_timestamp())
        AND (key = '' OR NOT EXISTS (
            SELECT FROM outbox AS failed
            WHERE failed.key = message.key AND failed.retry_at > statement_timestamp()
        ))
    ORDER BY position
    LIMIT $1
"""
_DELETE: Final[LiteralString] = "DELETE FROM outbox WHERE position = ANY($1::bigint[])"
_POSTPONE: Final[LiteralString] = """
    UPDATE outbox SET
        attempts = attempts + 1,
        retry_at = statement_timestamp()
            + least($3::float8, $2::float8 * 2 ^ least(attempts, 30)) * interval '1 second'
    WHERE position = ANY($1::bigint[])
"""
_STATS: Final[LiteralString] = """
    SELECT
        count(*) AS waiting,
        count(retry_at) AS failing,
        coalesce(extract(epoch FROM statement_timestamp() - min(created_at)), 0)::float8 AS oldest
    FROM outbox
"""
_HEADERS: Final = msgspec.json.Decoder(dict[str, str])


@dataclass(frozen=True, slots=True)
class OutboxStats:
    """``waiting``: messages not sent yet; ``failing``: those of them that failed before.

    ``oldest``: the age of the oldest in seconds, 0 when there is none.
    """

    waiting: int
    failing: int
    oldest: float


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A message in the table. ``attempts``: how often it failed."""

    position: int
    attempts: int
    message: Message


async def enqueue(tx: Connection, messages: Sequence[Message]) -> None:
    """Write the messages, in order, in the caller's transaction: sent if and when it commits.

    Wake the relay (`OutboxRelay.wake`) after the commit, or it takes until its next poll.
    Errors: `DatabaseError`; INVALID_ARGUMENT for a U+0000 in a subject, a key or an id.
    """
    if messages:
        await tx.execute(
            _ENQUEUE,
            [message.id for message in messages],
            [message.subject for message in messages],
            [message.key for message in messages],
            [message.data for message in messages],
            [msgspec.json.encode(message.headers).decode() for message in messages],
        )


async def try_lock(tx: Connection) -> bool:
    """Become the one relay that sends, until the end of the transaction; False if another is."""
    locked: bool = await tx.fetchval(_TRY_LOCK)
    return locked


async def has_due(pool: Pool) -> bool:
    """Whether there is a message to send; costs one statement and no lock."""
    found: bool = await pool.fetchval(_HAS_DUE)
    return found


async def fetch_due(tx: Connection, limit: int) -> list[OutboxRow]:
    """The first messages to send: none whose key has a failed message that still waits."""
    return [_row(row) for row in await tx.fetch(_FETCH_DUE, limit)]


async def delete_sent(tx: Connection, sent: Sequence[OutboxRow]) -> None:
    """Delete what is in the queue."""
    if sent:
        await tx.execute(_DELETE, [each.position for each in sent])


async def postpone(tx: Connection, failed: Sequence[OutboxRow], first: float, most: float) -> None:
    """Let them wait: ``first`` seconds, twice as long the next time, up to ``most``."""
    if failed:
        await tx.execute(_POSTPONE, [each.position for each in failed], first, most)


async def read_stats(pool: Pool) -> OutboxStats:
    """The figures of this moment; reads the whole table."""
    row = await pool.fetchrow(_STATS)
    return OutboxStats(0, 0, 0.0) if row is None else OutboxStats(*row)


def _row(row: Row) -> OutboxRow:
    message = Message(
        row["subject"], row["data"], row["id"], row["key"], _HEADERS.decode(row["headers"])
    )
    return OutboxRow(row["position"], row["attempts"], message)
