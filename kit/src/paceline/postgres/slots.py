"""The connections of a pool: idle ones, those in use, and the callers that wait for one.

Invariant: ``size`` counts every connection from before it is opened until it is closed, and never
exceeds ``max_size``; a slot that becomes free goes to the caller that has waited longest, and no
cancellation in between can lose it. The most recently used connection is reused first, so that
the others reach their idle limit. No SQL here and no deadline: the caller bounds the wait.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import asyncpg

from paceline.errors import Code
from paceline.postgres.errors import DRIVER_ERRORS, DatabaseError

_CLOSE_TIMEOUT: Final = 2.0
_JITTER: Final = 0.1


@dataclass(slots=True, eq=False)
class PooledConnection:
    """One connection with the server; times are the event loop's."""

    raw: asyncpg.Connection
    expires_at: float
    idle_since: float


class Slots:
    """At most ``max_size`` connections. Ages in seconds; a lifetime is shortened by up to a tenth.

    ``read_only`` is set by who has found that a connection takes no writes.

    *Resources*: owns the connections and the tasks that close them, until `close`.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        *,
        max_size: int,
        max_lifetime: float,
        max_idle: float,
    ) -> None:
        self._connect = connect
        self._max_size = max_size
        self._max_lifetime = max_lifetime
        self._max_idle = max_idle
        self._size = 0
        self._idle: list[PooledConnection] = []
        self._in_use: set[PooledConnection] = set()
        self._waiters: deque[asyncio.Future[PooledConnection | None]] = deque()
        self._closers: set[asyncio.Task[None]] = set()
        self._closing = False
        self._slot_freed = asyncio.Event()
        self.read_only: asyncio.Event = asyncio.Event()

    @property
    def size(self) -> int:
        """All connections, including those being opened or closed."""
        return self._size

    @property
    def in_use(self) -> int:
        """Connections that are checked out."""
        return len(self._in_use)

    @property
    def waiting(self) -> int:
        """Callers that wait for a connection."""
        return sum(not waiter.done() for waiter in self._waiters)

    @property
    def full(self) -> bool:
        """Whether `acquire` would have to wait for a release."""
        return self._size >= self._max_size and not self._idle

    def acquire_idle(self) -> PooledConnection | None:
        """An idle connection, or None."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.raw.is_closed():
                self._in_use.add(connection)
                return connection
            self._drop_closed(connection)
        return None

    async def acquire(self) -> PooledConnection:
        """An idle connection, a new one, or the next that is released.

        Errors: the driver's, when a new one cannot be opened.
        """
        connection = self.acquire_idle()
        if connection is None:
            if self._size < self._max_size:
                self._size += 1
            else:
                connection = await self._wait_for_slot()
        return await self._open() if connection is None else connection

    def release(self, connection: PooledConnection) -> None:
        """Take back a usable connection; one that is too old is closed."""
        if connection not in self._in_use:
            return  # `close` discarded it meanwhile
        now = asyncio.get_running_loop().time()
        if self._closing or now >= connection.expires_at or connection.raw.is_closed():
            self.discard(connection)
        elif not self._give_to_waiter(connection):
            self._in_use.remove(connection)
            connection.idle_since = now
            self._idle.append(connection)

    def discard(self, connection: PooledConnection) -> None:
        """Take back a connection that must not be used again; it is closed in the background."""
        if connection in self._in_use:
            self._in_use.remove(connection)
            self._close_in_background(connection)

    async def fill(self, size: int) -> None:
        """Open connections until there are ``size``. Errors: the driver's, at the first failure."""
        while self._size < size and not self._closing:
            self._size += 1
            self.release(await self._open())

    def trim(self, min_size: int) -> None:
        """Close idle connections that are dead, too old, or beyond ``min_size`` for too long."""
        now = asyncio.get_running_loop().time()
        spare = self._size - min_size
        idle, self._idle = self._idle, []
        for connection in idle:  # longest idle first
            superfluous = spare > 0 and now - connection.idle_since >= self._max_idle
            if superfluous or connection.raw.is_closed() or now >= connection.expires_at:
                spare -= 1
                self._close_in_background(connection)
            else:
                self._idle.append(connection)

    async def check_idle(self, is_good: Callable[[asyncpg.Connection], Awaitable[bool]]) -> None:
        """Close the idle connections that are not good; one that fails is not."""
        for connection in tuple(self._idle):
            if connection not in self._idle:
                continue  # in use meanwhile
            self._idle.remove(connection)
            self._in_use.add(connection)
            good = False
            try:
                with suppress(*DRIVER_ERRORS):
                    good = await is_good(connection.raw)
            finally:
                if good:
                    self.release(connection)
                else:
                    self.discard(connection)

    async def close(self, grace: float) -> int:
        """Close all connections, those in use after ``grace`` seconds.

        Returns how many were closed while in use. Waiting callers get the error `pool_stopped`.
        """
        self._closing = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(pool_stopped())
        self._waiters.clear()
        while self._idle:
            self._close_in_background(self._idle.pop())
        cut_off = 0
        try:
            if not await self._wait_until_empty(grace):
                cut_off = len(self._in_use)
                for connection in tuple(self._in_use):
                    self.discard(connection)
                await self._wait_until_empty(2 * _CLOSE_TIMEOUT)
        finally:
            for connection in self._in_use:
                connection.raw.terminate()
            for closer in self._closers:
                closer.cancel()
        return cut_off

    async def _wait_until_empty(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._size:
                    self._slot_freed.clear()
                    await self._slot_freed.wait()
        return self._size == 0

    async def _wait_for_slot(self) -> PooledConnection | None:
        """Wait for a connection, or for a free slot (None) to open one in."""
        waiter: asyncio.Future[PooledConnection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with suppress(ValueError):
                    self._waiters.remove(waiter)
            elif waiter.exception() is None:  # got a slot and was cancelled in the same loop turn
                connection = waiter.result()
                if connection is None:
                    self._free_slot()
                else:
                    self.release(connection)
            raise

    def _give_to_waiter(self, connection: PooledConnection | None) -> bool:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    async def _open(self) -> PooledConnection:
        try:
            raw = await self._connect()
        except BaseException:
            self._free_slot()
            raise
        now = asyncio.get_running_loop().time()
        jitter = random.uniform(1 - _JITTER, 1)  # noqa: S311 - spreads load, protects nothing
        connection = PooledConnection(raw, now + self._max_lifetime * jitter, now)
        self._in_use.add(connection)
        if self._closing:
            self.discard(connection)
            raise pool_stopped()
        return connection

    def _close_in_background(self, connection: PooledConnection) -> None:
        if connection.raw.is_closed():
            self._drop_closed(connection)
            return
        closer = asyncio.create_task(self._close(connection), name="close database connection")
        self._closers.add(closer)
        closer.add_done_callback(self._closers.discard)

    async def _close(self, connection: PooledConnection) -> None:
        try:
            # A graceful close waits for the CancelRequest of an interrupted statement; terminate()
            # alone would withdraw it, and the server would go on with a statement nobody waits for.
            with suppress(*DRIVER_ERRORS):
                await connection.raw.close(timeout=_CLOSE_TIMEOUT)
        finally:
            self._free_slot()

    def _drop_closed(self, connection: PooledConnection) -> None:
        connection.raw.terminate()  # closed already: this releases the driver's own state
        self._free_slot()

    def _free_slot(self) -> None:
        if not self._give_to_waiter(None):
            self._size -= 1
            self._slot_freed.set()


def pool_stopped() -> DatabaseError:
    """The error of a checkout after the pool was stopped."""
    return DatabaseError(Code.UNAVAILABLE, "the database pool is stopped")
