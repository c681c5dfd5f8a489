"""LISTEN on a connection of its own: something may have happened, look for yourself.

Invariant: whoever waits in `Wakeup.heard` is woken after every notification that the server sent,
and whenever one may have been missed: after each new connection. Notifications carry nothing that
counts and many are one: what happened is read from tables. A connection that ends is opened again
for as long as the block lasts, and one that only seems alive is found out by asking it now and
then. Used by the feed of changes; `Notifier` (``notify``) is the other end.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from contextvars import Context

import asyncpg

from paceline.errors import Error
from paceline.log import Logger
from paceline.postgres.connector import wait_for_server
from paceline.postgres.errors import DRIVER_ERRORS

_CLOSE_TIMEOUT = 2.0


class Wakeup:
    """Rings when something may have happened. For one waiter."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    async def heard(self) -> None:
        """Wait until it has rung since the last time; at once if it has."""
        await self._rung.wait()
        self._rung.clear()

    def ring(self, *_: object) -> None:
        """Ring."""
        self._rung.set()


@asynccontextmanager
async def listening(
    dsn: str,
    channel: str,
    log: Logger,
    *,
    ask_every: float = 10.0,
    patience: float = 5.0,
    pause: float = 0.5,
) -> AsyncGenerator[Wakeup]:
    """A bell for ``channel`` while the block lasts; it waits for no connection.

    Times in seconds: ``ask_every`` between two questions whether the server is there, ``patience``
    for a connection and for an answer, ``pause`` before the next attempt.

    *Resources*: a task and a connection, until the end of the block.
    """
    bell = Wakeup()
    ear = _Ear(dsn, channel, bell, ask_every=ask_every, patience=patience)
    # An empty context: the task must not inherit a deadline.
    task = asyncio.create_task(_keep(ear, log, pause), name=f"listen {channel}", context=Context())
    try:
        yield bell
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def _keep(ear: "_Ear", log: Logger, pause: float) -> None:
    lost = False
    while True:
        try:
            async with ear.connected() as connection:
                if lost:
                    log.info("listening again", channel=ear.channel)
                lost = False
                await ear.listen(connection)
        except (*DRIVER_ERRORS, Error) as exc:
            if not lost:
                log.warning("listening was interrupted", channel=ear.channel, error=exc)
            lost = True
        await asyncio.sleep(pause)


class _Ear:
    """One connection after the other."""

    def __init__(
        self, dsn: str, channel: str, bell: Wakeup, *, ask_every: float, patience: float
    ) -> None:
        self.channel = channel
        self._dsn = dsn
        self._bell = bell
        self._ask_every = ask_every
        self._patience = patience

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[asyncpg.Connection]:
        """A connection that listens. Errors: the driver's, `Error`."""
        raw = await wait_for_server(
            lambda: asyncpg.connect(self._dsn, command_timeout=self._patience),
            self._dsn,
            self._patience,
        )
        try:
            await raw.add_listener(self.channel, self._bell.ring)
            self._bell.ring()
            yield raw
        finally:
            with suppress(*DRIVER_ERRORS):
                await raw.close(timeout=_CLOSE_TIMEOUT)

    async def listen(self, raw: asyncpg.Connection) -> None:
        """Return or raise when the connection is of no use any more."""
        ended = asyncio.Event()
        raw.add_termination_listener(lambda _: ended.set())
        while not raw.is_closed():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._ask_every):
                    await ended.wait()
            if not ended.is_set():
                await raw.execute("SELECT 1")
        raise ConnectionResetError("the connection was lost")
