"""Deletes ids from the inbox that the queue cannot deliver again.

Invariant: rows are deleted in chunks that lock little, and rows that another cleaner has locked are
skipped, so any number of cleaners may run.
"""

import asyncio
from datetime import timedelta
from typing import Final, LiteralString

from paceline.concurrency import BackgroundService
from paceline.log import Logger
from paceline.postgres import Pool

_CHUNK: Final = 5000
_DELETE_OLD: Final[LiteralString] = """
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


class InboxCleaner(BackgroundService):
    """Deletes ids claimed more than ``keep`` seconds ago, every ``interval`` seconds.

    ``keep`` must be longer than the queue may take to deliver a message again: its greatest age
    there, the time as a dead letter included.

    *Resources*: a task, from `start` to `stop`.
    """

    name = "inbox cleaner"

    def __init__(
        self, pool: Pool, log: Logger, *, keep: float = 30 * 86400.0, interval: float = 300.0
    ) -> None:
        super().__init__()
        self._pool = pool
        self._log = log
        self._keep = timedelta(seconds=keep)
        self._interval = interval

    async def clean(self) -> int:
        """Delete what is old now; gives how many ids. Errors: `DatabaseError`."""
        total = 0
        while True:
            deleted: int = await self._pool.fetchval(_DELETE_OLD, self._keep, _CHUNK)
            total += deleted
            if deleted < _CHUNK:
                return total

    async def run(self) -> None:
        """Clean until it is cancelled, which leaves no chunk half deleted."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.clean()
            except Exception as exc:  # noqa: BLE001 - the next attempt may well succeed
                self._log.error("the inbox could not be cleaned", error=exc)
