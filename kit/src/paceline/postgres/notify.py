"""NOTIFY after the fact: many changes, few notifications, none of them inside a transaction.

A NOTIFY in a data transaction takes a lock on the whole database at its commit, so that commits
queue up. Here a commit only leaves word, and one task sends a notification at most every few
milliseconds. A process that dies in between, or a server that is away, loses one: whoever listens
(``listen``) looks by itself from time to time as well. Built by ``main``; repositories call
`Notifier.notify` after their commits.
"""

import asyncio

from paceline.concurrency import Background
from paceline.errors import Error
from paceline.postgres.pool import Pool


class Notifier(Background):
    """Notifies ``channel``, at most every ``interval`` seconds and only when asked.

    *Resources*: a task from `start` to `stop`.
    """

    def __init__(self, pool: Pool, channel: str, *, interval: float = 0.005) -> None:
        super().__init__()
        self.name: str = f"notify {channel}"
        self._pool = pool
        self._channel = channel
        self._interval = interval
        self._asked = asyncio.Event()

    def notify(self) -> None:
        """Tell who listens that there is something to see. Does not wait."""
        self._asked.set()

    async def stop(self) -> None:
        """End, after the last notification."""
        await super().stop()
        if self._asked.is_set():
            await self._send()

    async def run(self) -> None:
        """Send what is asked for, also what was before the start."""
        while True:
            await self._asked.wait()
            await self._send()
            await asyncio.sleep(self._interval)

    async def _send(self) -> None:
        self._asked.clear()
        try:
            await self._pool.execute("SELECT pg_notify($1, '')", self._channel)
        except asyncio.CancelledError:
            self._asked.set()  # `stop` sends it once more
            raise
        except Error:
            return  # whoever listens looks by itself before long
