"""The places of the pool: who holds a connection, who waits for one, which are at rest.

Invariant: ``size`` counts every connection from before it is opened until the server has let go of
it, and never exceeds ``max_size``; a place that becomes free goes to who has waited longest, and
no cancellation in between can lose it. The last used connection is used next, so that the others
can grow old and go. No SQL here and no deadline: the caller bounds the wait. Used by ``pool``.
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
class Session:
    """One connection with the server; times are the event loop's."""

    raw: asyncpg.Connection
    expires_at: float
    idle_since: float


class Slots:
    """At most ``max_size`` sessions. Ages in seconds; a lifetime is shortened by up to a tenth.

    *Resources*: owns the sessions and the tasks that close them, until `close`.
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
        self._idle: list[Session] = []
        self._lent: set[Session] = set()
        self._waiters: deque[asyncio.Future[Session | None]] = deque()
        self._closers: set[asyncio.Task[None]] = set()
        self._closing = False
        self._empty = asyncio.Event()

    @property
    def size(self) -> int:
        """Connections there are, being opened and being closed included."""
        return self._size

    @property
    def lent(self) -> int:
        """Connections in somebody's hands."""
        return len(self._lent)

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return sum(not waiter.done() for waiter in self._waiters)

    @property
    def full(self) -> bool:
        """Whether `take` would have to wait for somebody else."""
        return self._size >= self._max_size and not self._idle

    def take_idle(self) -> Session | None:
        """A connection at rest, or None."""
        while self._idle:
            session = self._idle.pop()
            if not session.raw.is_closed():
                self._lent.add(session)
                return session
            self._bury(session)
        return None

    async def take(self) -> Session:
        """A connection, when there is one. Errors: the driver's, when it cannot be opened."""
        session = self.take_idle()
        if session is None:
            if self._size < self._max_size:
                self._size += 1
            else:
                session = await self._turn()
        return await self._open() if session is None else session

    def put(self, session: Session) -> None:
        """Bring back a connection in good order; when it is too old it is closed."""
        if session not in self._lent:
            return  # `close` took it away
        now = asyncio.get_running_loop().time()
        if self._closing or now >= session.expires_at or session.raw.is_closed():
            self.discard(session)
        elif not self._serve(session):
            self._lent.remove(session)
            session.idle_since = now
            self._idle.append(session)

    def discard(self, session: Session) -> None:
        """Bring back a connection that must not be used again. It is closed in the background."""
        if session in self._lent:
            self._lent.remove(session)
            self._retire(session)

    async def fill(self, size: int) -> None:
        """Open connections until there are ``size``. Errors: the driver's, at the first failure."""
        while self._size < size and not self._closing:
            self._size += 1
            self.put(await self._open())

    def tidy(self, min_size: int) -> None:
        """Close what is dead, too old, or idle for too long and not among the last ``min_size``."""
        now = asyncio.get_running_loop().time()
        spare = self._size - min_size
        resting, self._idle = self._idle, []
        for session in resting:  # longest idle first
            superfluous = spare > 0 and now - session.idle_since >= self._max_idle
            if superfluous or session.raw.is_closed() or now >= session.expires_at:
                spare -= 1
                self._retire(session)
            else:
                self._idle.append(session)

    async def close(self, grace: float) -> int:
        """Close everything, what is lent after ``grace`` seconds; gives how many were cut off."""
        self._closing = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(stopped())
        self._waiters.clear()
        while self._idle:
            self._retire(self._idle.pop())
        cut = 0
        try:
            if not await self._emptied(grace):
                cut = len(self._lent)
                for session in tuple(self._lent):
                    self.discard(session)
                await self._emptied(2 * _CLOSE_TIMEOUT)
        finally:
            for session in self._lent:
                session.raw.terminate()
            for closer in self._closers:
                closer.cancel()
        return cut

    async def _emptied(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._size:
                    self._empty.clear()
                    await self._empty.wait()
        return self._size == 0

    async def _turn(self) -> Session | None:
        """Wait for a connection, or for a place (None) to open one in."""
        waiter: asyncio.Future[Session | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with suppress(ValueError):
                    self._waiters.remove(waiter)
            elif waiter.exception() is None:  # served and cancelled in the same moment
                session = waiter.result()
                if session is None:
                    self._vacate()
                else:
                    self.put(session)
            raise

    def _serve(self, session: Session | None) -> bool:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(session)
                return True
        return False

    async def _open(self) -> Session:
        try:
            raw = await self._connect()
        except BaseException:
            self._vacate()
            raise
        now = asyncio.get_running_loop().time()
        jitter = random.uniform(1 - _JITTER, 1)  # noqa: S311 - spreads load, guards nothing
        session = Session(raw, now + self._max_lifetime * jitter, now)
        self._lent.add(session)
        if self._closing:
            self.discard(session)
            raise stopped()
        return session

    def _retire(self, session: Session) -> None:
        if session.raw.is_closed():
            self._bury(session)
            return
        closer = asyncio.create_task(self._end(session), name="close database connection")
        self._closers.add(closer)
        closer.add_done_callback(self._closers.discard)

    async def _end(self, session: Session) -> None:
        try:
            # A graceful close waits for the CancelRequest of a statement that was cut off;
            # terminate() alone would take it back, and the server would work on for nobody.
            with suppress(*DRIVER_ERRORS):
                await session.raw.close(timeout=_CLOSE_TIMEOUT)
        finally:
            self._vacate()

    def _bury(self, session: Session) -> None:
        session.raw.terminate()  # it is closed: this is the driver's own cleaning up
        self._vacate()

    def _vacate(self) -> None:
        if not self._serve(None):
            self._size -= 1
            self._empty.set()


def stopped() -> DatabaseError:
    """The error for whoever comes too late."""
    return DatabaseError(Code.UNAVAILABLE, "the database pool is stopped")
