"""NOTIFY after a commit, at most once every few milliseconds, never inside the transaction.

A NOTIFY inside a transaction takes a lock on the whole database at its commit, which serializes
commits. Here `Notifier.notify` is called after the commit, and one task sends a single notification
for many calls. One is lost when the process dies in between or the server is unreachable, so a
listener must also poll at a long interval.
"""

import asyncio

from paceline.concurrency import BackgroundService
from paceline.errors import Error
from paceline.postgres.pool import Pool


class Notifier(BackgroundService):
    """Notifies ``channel`` after calls of `notify`, at most every ``interval`` seconds.

    *Resources*: a task from `start` to `stop`.
    """

    def __init__(self, pool: Pool, channel: str, *, interval: float = 0.005) -> None:
        super().__init__()
        self.name: str = f"notify {channel}"
        self._pool = pool
        self._channel = channel
        self._interval = interval
        self._pending = asyncio.Event()

    def notify(self) -> None:
        """Request a notification. Does not wait."""
        self._pending.set()

    async def stop(self) -> None:
        """Stop, after sending a notification that is still due."""
        await super().stop()
        if self._pending.is_set():
            await self._send()

    async def run(self) -> None:
        """Send notifications, including one requested before the start."""
        while True:
            await self._pending.wait()
            await self._send()
            await asyncio.sleep(self._interval)

    async def _send(self) -> None:
        self._pending.clear()
        try:
            await self._pool.execute("SELECT pg_notify($1, '')", self._channel)
        except asyncio.CancelledError:
            self._pending.set()  # `stop` sends it
            raise
        except Error:
            return  # listeners poll, too
