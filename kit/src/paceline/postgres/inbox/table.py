"""The inbox: which messages have had their effect, written in the effect's own transaction.

Invariant: of all deliveries of a message, at once or years apart, one finds its id new, and that
one commits the effect together with the id; so a redelivery has no second effect, and a transaction
that fails leaves the message new. Ids are taken in one order, the same in every process, so two
workers with the same messages wait for one another instead of deadlocking. A consumer claims after
it has locked what decides whether a message can be handled at all: a claim is for good. Consumers'
repositories call `claim`; `InboxCleaner` forgets what the queue cannot deliver any more.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, LiteralString, Protocol

from paceline.concurrency import Background
from paceline.errors import Code, Error
from paceline.postgres import Connection, Pool

SCHEMA: Final[LiteralString] = """
    CREATE TABLE inbox (
        consumer   text        NOT NULL,
        id         text        NOT NULL,
        claimed_at timestamptz NOT NULL DEFAULT statement_timestamp(),
        PRIMARY KEY (consumer, id)
    );
    CREATE INDEX inbox_by_age ON inbox (claimed_at);
"""
"""What a service's migration must make."""

_MAX_ID: Final = 255
_CHUNK: Final = 5000
_CLAIM: Final[LiteralString] = """
    INSERT INTO inbox (consumer, id)
    SELECT $1, id FROM unnest($2::text[]) WITH ORDINALITY AS message (id, place)
    ORDER BY place
    ON CONFLICT DO NOTHING
    RETURNING id
"""
_FORGET: Final[LiteralString] = """
    WITH old AS (
        SELECT consumer, id FROM inbox
        WHERE claimed_at < statement_timestamp() - $1::interval
        ORDER BY claimed_at LIMIT $2
        FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM inbox USING old
        WHERE inbox.consumer = old.consumer AND inbox.id = old.id
        RETURNING 1
    )
    SELECT count(*) FROM gone
"""


class Logger(Protocol):
    """Where the cleaner tells when it fails."""

    def error(self, event: str, /, **fields: object) -> object:
        """Log a failure."""
        ...


async def claim(tx: Connection, consumer: str, ids: Sequence[str]) -> set[str]:
    """Take the messages on, in the caller's transaction; gives the ids that are new.

    Waits for another transaction that has claimed one of them, until it is over.
    Errors: ``Error(INVALID_ARGUMENT)`` for an id that is not `claimable`; `DatabaseError`.
    """
    wanted = sorted(set(ids))
    if not all(map(claimable, wanted)):
        raise Error(Code.INVALID_ARGUMENT, "a message has an id that cannot be remembered")
    if not wanted:
        return set()
    return {row["id"] for row in await tx.fetch(_CLAIM, consumer, wanted)}


def claimable(message_id: str) -> bool:
    """Whether it is an id to remember: 1 to 255 printable characters. Ids come from strangers."""
    return 0 < len(message_id) <= _MAX_ID and message_id.isprintable()


class InboxCleaner(Background):
    """Forgets ids claimed more than ``keep`` seconds ago, looking every ``every`` seconds.

    ``keep`` must be longer than the queue may take to deliver a message again: its greatest age
    there, the time in a dead-letter queue included. Any number of cleaners may run.

    *Resources*: `start` makes a task.
    """

    name = "inbox cleaner"

    def __init__(
        self, pool: Pool, log: Logger, *, keep: float = 30 * 86400.0, every: float = 300.0
    ) -> None:
        super().__init__()
        self._pool = pool
        self._log = log
        self._keep = timedelta(seconds=keep)
        self._every = every

    async def clean(self) -> int:
        """Forget what is old now, in chunks that lock little; gives how many. `DatabaseError`."""
        total = 0
        while True:
            gone: int = await self._pool.fetchval(_FORGET, self._keep, _CHUNK)
            total += gone
            if gone < _CHUNK:
                return total

    async def run(self) -> None:
        """Clean for ever; a chunk that is being removed as it is stopped stays whole."""
        while True:
            await asyncio.sleep(self._every)
            try:
                await self.clean()
            except Exception as exc:  # noqa: BLE001 - the next look may well work
                self._log.error("the inbox could not be cleaned", error=exc)
