"""The ``outbox`` table: what stands in it, how messages come in, are looked at and go.

Invariant: nothing that a clock tells decides the order, only ``position``. It is drawn when a row
is written, so two transactions that exclude each other (both change the same row, say) get theirs
in the order in which they commit; that is the order of a key. Processes' clocks differ, so ids made
from them would not do. `enqueue` is for repositories; the rest for ``relay``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, LiteralString

import msgspec

from paceline.messaging import Message
from paceline.postgres import Connection, Pool, Row

SCHEMA: Final[LiteralString] = """
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
"""What a service's migration must make. Rows live for milliseconds: they are vacuumed by number."""

_ENQUEUE: Final[LiteralString] = """
    INSERT INTO outbox (id, subject, key, data, headers)
    SELECT id, subject, key, data, headers
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::json[])
        WITH ORDINALITY AS message (id, subject, key, data, headers, place)
    ORDER BY place
"""
# The table's own number: services that share a database do not get in each other's way.
_LEAD: Final[LiteralString] = "SELECT pg_try_advisory_xact_lock('outbox'::regclass::oid::bigint)"
_ANY: Final[LiteralString] = """
    SELECT EXISTS (
        SELECT FROM outbox WHERE retry_at IS NULL OR retry_at <= statement_timestamp()
    )
"""
# One moment for the whole statement: were a failed message still to wait and the one behind it
# judged a microsecond later, that one would overtake.
_TAKE: Final[LiteralString] = """
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
_SENT: Final[LiteralString] = "DELETE FROM outbox WHERE position = ANY($1::bigint[])"
_FAILED: Final[LiteralString] = """
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
    """How many messages are not sent yet, how many of them failed before, the oldest one's age.

    ``oldest`` is in seconds; 0 when there is none.
    """

    waiting: int
    failing: int
    oldest: float


@dataclass(frozen=True, slots=True)
class Stored:
    """A message in the table."""

    position: int
    attempts: int
    message: Message


async def enqueue(tx: Connection, messages: Sequence[Message]) -> None:
    """Write the messages, in order, in the caller's transaction: told if and when it commits.

    Wake the relay (`OutboxRelay.wake`) after the commit, or it takes until its next look.
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


async def lead(tx: Connection) -> bool:
    """Be the one relay that sends, until the end of the transaction; False if another one is."""
    leading: bool = await tx.fetchval(_LEAD)
    return leading


async def is_anything_due(pool: Pool) -> bool:
    """Whether a look is worth while; costs one statement and no lock."""
    found: bool = await pool.fetchval(_ANY)
    return found


async def take(tx: Connection, limit: int) -> list[Stored]:
    """The first messages that may be sent: none whose key has a failed one that is to wait."""
    return [_stored(row) for row in await tx.fetch(_TAKE, limit)]


async def remove(tx: Connection, sent: Sequence[Stored]) -> None:
    """They are in the queue."""
    if sent:
        await tx.execute(_SENT, [each.position for each in sent])


async def postpone(tx: Connection, failed: Sequence[Stored], first: float, most: float) -> None:
    """Let them wait: ``first`` seconds, twice that the next time, up to ``most``."""
    if failed:
        await tx.execute(_FAILED, [each.position for each in failed], first, most)


async def read_stats(pool: Pool) -> OutboxStats:
    """The figures of this moment; counts the rows."""
    row = await pool.fetchrow(_STATS)
    return OutboxStats(0, 0, 0.0) if row is None else OutboxStats(*row)


def _stored(row: Row) -> Stored:
    message = Message(
        row["subject"], row["data"], row["id"], row["key"], _HEADERS.decode(row["headers"])
    )
    return Stored(row["position"], row["attempts"], message)
