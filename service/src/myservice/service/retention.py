"""How long the log of changes is kept: a task that trims it from time to time.

Every replica runs it and the log sees to it that one trims at a time (``repository.changes``). It
goes on through failures: a log that is kept for longer harms nobody. Built by ``main``.
"""

import asyncio
from typing import Protocol

from paceline.concurrency import BackgroundService
from paceline.errors import Error
from paceline.log import Logger


class Trimmer(Protocol):
    """What can be trimmed."""

    async def trim(self, keep: float, limit: int) -> int:
        """Delete up to ``limit`` changes older than ``keep`` seconds; how many that were."""
        ...


class Retention(BackgroundService):
    """Trims ``log``. Settings, in seconds: ``keep``; ``every``, between two looks; and ``batch``.

    *Resources*: a task from `start` to `stop`.
    """

    name = "retention"

    def __init__(
        self,
        log: Trimmer,
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
        """Trim for ever."""
        while True:
            try:
                while await self._log.trim(self._keep, self._batch) == self._batch:
                    pass
            except Error as exc:
                self._logger.warning("record changes could not be trimmed", error=exc)
            await asyncio.sleep(self._every)
