"""How long the log of changes is kept: a task that trims it from time to time.

Every replica runs it and the log sees to it that one trims at a time (``repository.changes``). It
goes on through failures: a log that is kept for longer harms nobody. Built by ``main``.
"""

import asyncio
from contextvars import Context
from typing import Protocol

from paceline.errors import Error
from paceline.log import Logger


class Trimmer(Protocol):
    """What can be trimmed."""

    async def trim(self, keep: float, limit: int) -> int:
        """Delete up to ``limit`` changes older than ``keep`` seconds; how many that were."""
        ...


class Retention:
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
        self._log = log
        self._logger = logger
        self._keep = keep
        self._every = every
        self._batch = batch
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=self.name, context=Context())

    async def stop(self) -> None:
        """End."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def _run(self) -> None:
        while True:
            try:
                while await self._log.trim(self._keep, self._batch) == self._batch:
                    pass
            except Error as exc:
                self._logger.warning("record changes could not be trimmed", error=exc)
            await asyncio.sleep(self._every)
