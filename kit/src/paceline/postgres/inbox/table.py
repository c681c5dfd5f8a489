"""The ``inbox`` table: the ids of the messages that have had their effect, by consumer.

Invariant: of all deliveries of a message, at once or years apart, one finds its id new, and commits
the effect together with the id; a transaction that fails leaves the message new. Ids are claimed in
sorted order, so two workers with the same messages wait for one another instead of deadlocking. A
claim is final: a consumer locks what decides whether a message can be handled at all, and then
claims it.
"""

from collections.abc import Sequence
from typing import Final, LiteralString

from paceline.errors import Code, Error
from paceline.postgres import Connection

INBOX_SCHEMA: Final[LiteralString] = """
    CREATE TABLE inbox (
        consumer   text        NOT NULL,
        id         text        NOT NULL,
        claimed_at timestamptz NOT NULL DEFAULT statement_timestamp(),
        PRIMARY KEY (consumer, id)
    );
    CREATE INDEX inbox_by_age ON inbox (claimed_at);
"""
"""What a service's migration has to create."""

_MAX_ID: Final = 255
_CLAIM: Final[LiteralString] = """
    INSERT INTO inbox (consumer, id)
    SELECT $1, id FROM unnest($2::text[]) WITH ORDINALITY AS message (id, place)
    ORDER BY place
    ON CONFLICT DO NOTHING
    RETURNING id
"""


async def claim(tx: Connection, consumer: str, ids: Sequence[str]) -> set[str]:
    """Claim messages in the caller's transaction; gives the ids that are new.

    Waits for the end of another transaction that has claimed one of them.
    Errors: ``Error(INVALID_ARGUMENT)`` for an id that is not `claimable`; `DatabaseError`.

    Example::

        async with pool.transaction() as tx:
            new = await claim(tx, "thing-counter", [message.id for message in batch])
            await count(tx, [message.value for message in batch if message.id in new])
    """
    wanted = sorted(set(ids))
    if not all(map(claimable, wanted)):
        raise Error(Code.INVALID_ARGUMENT, "a message has an id that cannot be stored")
    if not wanted:
        return set()
    return {row["id"] for row in await tx.fetch(_CLAIM, consumer, wanted)}


def claimable(message_id: str) -> bool:
    """Whether `claim` takes the id, which may come from anybody: 1 to 255 printable characters."""
    return 0 < len(message_id) <= _MAX_ID and message_id.isprintable()
