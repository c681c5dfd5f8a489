"""Deletes the rows of a table that are older than they are to be kept.

Invariant: rows are deleted in chunks that lock little, and rows that another cleaner has locked are
skipped, so any number of cleaners may run. The table needs an index on its time.
"""

import asyncio
from datetime import timedelta
from typing import Final, LiteralString

from paceline.concurrency import BackgroundService
from paceline.log import Logger
from paceline.postgres.pool import Pool

_CHUNK: Final = 5000


class RowCleaner(BackgroundService):
    """Deletes rows of ``table`` whose ``time`` is over ``keep`` seconds ago, every ``interval``.

        wiring.add(RowCleaner(pool, log, "sessions", time="ended_at", keep=7 * 86400.0))

    *Resources*: a task, from `start` to `stop`.
    """

    def __init__(
        self,
        pool: Pool,
        log: Logger,
        table: LiteralString,
        *,
        keep: float,
        time: LiteralString = "created_at",
        interval: float = 300.0,
    ) -> None:
        super().__init__()
        self.name: str = f"{table} cleaner"
        self._pool = pool
        self._log = log
        self._table = table
        self._keep = timedelta(seconds=keep)
        self._interval = interval
        # Rows that are locked do not move, so their places name them until the statement ends.
        self._sql: LiteralString = f"""
            WITH old AS (
                SELECT ctid FROM {table}
                WHERE {time} < statement_timestamp() - $1::interval
                ORDER BY {time} LIMIT $2
                FOR UPDATE SKIP LOCKED
            ), gone AS (
                DELETE FROM {table} USING old WHERE {table}.ctid = old.ctid RETURNING 1
            )
            SELECT count(*) FROM gone
        """  # noqa: S608 - of literals, which the types prove

    async def clean(self) -> int:
        """Delete what is old now; gives how many rows. Errors: `DatabaseError`."""
        total = 0
        while True:
            deleted: int = await self._pool.fetchval(self._sql, self._keep, _CHUNK)
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
                self._log.error("old rows could not be deleted", table=self._table, error=exc)
