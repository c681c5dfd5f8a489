"""LISTEN on a dedicated connection: a wakeup whenever a table may have changed.

Invariant: `Wakeup` is set after every notification that the server sends, and after each new
connection, because a notification may have been missed before it. Notifications carry no data, and
many become one wakeup: the waiter reads the tables. Through a pooler that shares sessions none
arrives, so nothing is listened to, which is logged: the waiter must look by itself from time to
time, as it must anyway. A connection that ends is replaced for as long
as the block lasts, and one that is dead without having been closed is detected by a periodic query.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from contextvars import Context

import asyncpg

from paceline.errors import Error
from paceline.log import Logger
from paceline.postgres.connector import Connector, wait_for_server
from paceline.postgres.errors import DRIVER_ERRORS

_CLOSE_TIMEOUT = 2.0


class Wakeup:
    """An event that resets itself when it is waited for. For one waiter."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    async def wait(self) -> None:
        """Wait until it was set since the last wait; returns at once if it was."""
        await self._event.wait()
        self._event.clear()

    def set(self, *_: object) -> None:
        """Wake the waiter."""
        self._event.set()


@asynccontextmanager
async def listening(
    dsn: str,
    channel: str,
    log: Logger,
    *,
    check_interval: float = 10.0,
    timeout: float = 5.0,  # noqa: ASYNC109 - a setting: of each connection attempt and query
    reconnect_delay: float = 0.5,
) -> AsyncGenerator[Wakeup]:
    """Listen to ``channel`` while the block lasts; does not wait for the first connection.

        async with listening(dsn, "news", log) as wakeup:
            while True:
                await wakeup.wait()
                await read_news()

    Times in seconds: ``check_interval`` between two queries that check the connection, ``timeout``
    of a connection attempt and of such a query, ``reconnect_delay`` before the next attempt.

    *Resources*: a task and a connection, until the end of the block.
    """
    wakeup = Wakeup()
    connection = _ListenConnection(
        dsn, channel, wakeup, check_interval=check_interval, timeout=timeout
    )
    task = asyncio.create_task(
        _keep_connected(connection, log, reconnect_delay),
        name=f"listen {channel}",
        context=Context(),  # an empty one: the task must not inherit a deadline
    )
    try:
        yield wakeup
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def _keep_connected(
    connection: "_ListenConnection", log: Logger, reconnect_delay: float
) -> None:
    lost = False
    while True:
        try:
            async with connection.opened() as raw:
                if connection.pooled:
                    log.warning(
                        "no notifications come through a pooler: give database_direct_url",
                        channel=connection.channel,
                    )
                    return
                if lost:
                    log.info("listening again", channel=connection.channel)
                lost = False
                await connection.wait_for_end(raw)
        except (*DRIVER_ERRORS, Error) as exc:
            if not lost:
                log.warning("listening was interrupted", channel=connection.channel, error=exc)
            lost = True
        await asyncio.sleep(reconnect_delay)


class _ListenConnection:
    """One connection after another, each of which sets the wakeup."""

    def __init__(
        self, dsn: str, channel: str, wakeup: Wakeup, *, check_interval: float, timeout: float
    ) -> None:
        self.channel = channel
        self._connector = Connector(dsn)
        self._wakeup = wakeup
        self._check_interval = check_interval
        self._timeout = timeout

    @property
    def pooled(self) -> bool:
        """Whether a pooler that may share sessions is before the server."""
        return bool(self._connector.shares_sessions)

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[asyncpg.Connection]:
        """A connection that listens. Errors: the driver's, `Error`."""
        raw = await wait_for_server(
            lambda: self._connector.open(command_timeout=self._timeout),
            self._connector.dsn,
            self._timeout,
        )
        try:
            if not self.pooled:
                await raw.add_listener(self.channel, self._wakeup.set)
            self._wakeup.set()
            yield raw
        finally:
            with suppress(*DRIVER_ERRORS):
                await raw.close(timeout=_CLOSE_TIMEOUT)

    async def wait_for_end(self, raw: asyncpg.Connection) -> None:
        """Wait for as long as the connection works. Errors: always, the driver's or OSError."""
        ended = asyncio.Event()
        raw.add_termination_listener(lambda _: ended.set())
        while not raw.is_closed():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._check_interval):
                    await ended.wait()
            if not ended.is_set():
                read_only = await raw.fetchval("SHOW transaction_read_only")
                if read_only == "on" and self._connector.address.expects_writable:
                    # Nobody notifies on a server that takes no writes.
                    raise ConnectionResetError("the server takes no writes any more")
        raise ConnectionResetError("the connection was lost")
