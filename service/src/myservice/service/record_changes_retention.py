"""Retention of the log of record changes: a task that deletes old changes from time to time.

Every replica runs it; the log lets one of them delete at a time. It continues after failures,
because changes that are kept for longer do no harm.
"""

import asyncio
from typing import Protocol

from paceline.concurrency import BackgroundService
from paceline.errors import Error
from paceline.log import Logger


class TrimmableLog(Protocol):
    """A log whose oldest changes can be deleted."""

    async def trim(self, keep: float, limit: int) -> int:
        """Delete up to ``limit`` changes older than ``keep`` seconds; gives how many."""
        ...


class RecordChangesRetention(BackgroundService):
    """Deletes changes older than ``keep`` seconds, every ``every`` seconds, ``batch`` at a time.

    *Resources*: a task from `start` to `stop`.
    """

    name = "retention"

    def __init__(
        self,
        log: TrimmableLog,
        logger: Logger,
        *,
        keep: float = 3600.0,
        every: float = 30.0,
        batch: int = 5_000,
    ) -> None:
        super().__init__()
        self._log = log
        self._logger = logger
        self._keep = keep
        self._every = every
        self._batch = batch

    async def run(self) -> None:
        """Delete old changes until cancelled."""
        while True:
            try:
                while await self._log.trim(self._keep, self._batch) == self._batch:
                    pass
            except Error as exc:
                self._logger.warning("record changes could not be trimmed", error=exc)
            await asyncio.sleep(self._every)
