"""The pool: connections lent out, each statement bounded, nothing returned in an unknown state.

Invariant: a connection that comes back was answered to the last byte. One on which a statement was
cut off (cancelled, timed out) is closed instead, in the background, once the server has been told
to stop that statement: unwinding waits for nothing. Rejected: the driver's own pool, which starts
a task and resets the session for every statement, at twice the cost of the statement itself, and
knows no greatest age. Built by ``main``; read ``slots``, ``connection`` and ``transaction``.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, LiteralString, TypeVar

import asyncpg

from paceline.concurrency import remaining
from paceline.errors import Code, Error
from paceline.postgres.checkout import Checkout
from paceline.postgres.connection import Connection, Row
from paceline.postgres.connector import wait_for_server
from paceline.postgres.errors import DRIVER_ERRORS
from paceline.postgres.slots import Slots, stopped
from paceline.postgres.transaction import Isolation, begun, is_conflict
from paceline.resilience import Budget, Retry, RetryStats
from paceline.stats import StatsEntry

T = TypeVar("T")

_MIN_SIZE: Final = 5


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Connections: there are ``size``, of which ``in_use`` and ``idle``; who waits for one."""

    size: int
    in_use: int
    idle: int
    max_size: int
    waiting: int


class Pool:
    """Up to ``max_size`` connections to one database. All times are in seconds.

    ``min_size``: how many stay open, 5 unless given or more than there may be.
    ``max_lifetime``: a connection older than this is replaced when it comes back (each a little
    earlier, so that they do not all go at once). ``max_idle``: how long connections beyond
    ``min_size`` may rest. ``acquire_timeout``: how long to wait for a connection.
    ``command_timeout``: the most any statement may take. ``start_timeout``: how long `start` waits
    for a server that is coming up. ``stop_timeout``: how long `stop` waits for connections to come
    back. ``tidy_every``: how often the pool looks after idle connections.

    *Resources*: `start` opens ``min_size`` connections and a task; `stop` ends all of them.
    """

    name = "database"

    def __init__(
        self,
        dsn: str,
        *,
        max_size: int = 25,
        min_size: int | None = None,
        max_lifetime: float = 1800.0,
        max_idle: float = 300.0,
        acquire_timeout: float = 5.0,
        command_timeout: float = 30.0,
        start_timeout: float = 10.0,
        stop_timeout: float = 10.0,
        tidy_every: float = 10.0,
        statement_cache_size: int = 100,
        application_name: str | None = None,
    ) -> None:
        if min_size is None:
            min_size = min(_MIN_SIZE, max_size)
        if not 0 <= min_size <= max_size or max_size < 1:
            raise ValueError(f"a pool cannot have {min_size} to {max_size} connections")
        self._dsn = dsn
        self._max_size = max_size
        self._min_size = min_size
        self._max_lifetime = max_lifetime
        self._max_idle = max_idle
        self._acquire_timeout = acquire_timeout
        self._command_timeout = command_timeout
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._tidy_every = tidy_every
        self._statement_cache_size = statement_cache_size
        self._settings = {"application_name": application_name} if application_name else None
        # A conflict is no outage: each transaction may be run again, but not all of them twice.
        self._retry = Retry(
            Budget(ratio=1.0, burst=100.0),
            first_pause=0.005, longest_pause=0.25, retries=is_conflict,
        )  # fmt: skip
        self._slots: Slots | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        """Connections there are, being opened and being closed included."""
        return self._slots.size if self._slots else 0

    @property
    def in_use(self) -> int:
        """Connections checked out."""
        return self._slots.lent if self._slots else 0

    @property
    def stats(self) -> PoolStats:
        """The figures of this moment."""
        waiting = self._slots.waiting if self._slots else 0
        idle = max(0, self.size - self.in_use)
        return PoolStats(self.size, self.in_use, idle, self._max_size, waiting)

    @property
    def retries(self) -> RetryStats:
        """Transactions that were run again."""
        return self._retry.stats

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: its connections, and transactions that were repeated."""
        yield StatsEntry("pools", self.name, lambda: self.stats)
        yield StatsEntry("retries", "transactions", lambda: self.retries)

    async def start(self) -> None:
        """Open the first connections.

        Errors: ``DatabaseError(UNAVAILABLE)`` with host, port, database and the reason, when the
        server does not come up in time or refuses; INVALID_ARGUMENT for an unreadable address.
        """
        if self._slots is not None:
            raise RuntimeError("the database pool is started already")
        slots = self._slots = Slots(
            self._connect,
            max_size=self._max_size,
            max_lifetime=self._max_lifetime,
            max_idle=self._max_idle,
        )
        first = max(1, self._min_size)
        await wait_for_server(lambda: slots.fill(first), self._dsn, self._start_timeout)
        self._keeper = asyncio.create_task(self._keep(slots), name="database pool keeper")

    async def stop(self) -> None:
        """Wait for connections to come back, then cancel what still runs, and close them all.

        Takes ``stop_timeout`` and a few seconds at most, less under an ambient deadline.
        Errors: ``Error(ABORTED)`` when work was cut off.
        """
        slots, self._slots = self._slots, None
        keeper, self._keeper = self._keeper, None
        if slots is None:
            return
        if keeper is not None:
            keeper.cancel()
        left = remaining()
        grace = self._stop_timeout if left is None else min(self._stop_timeout, left / 2)
        cut = await slots.close(grace)
        if keeper is not None:
            await asyncio.wait((keeper,))
        if cut:
            raise Error(Code.ABORTED, f"{cut} database connections were still in use")

    async def ping(self) -> None:
        """Ask the server for a sign of life. Errors: `DatabaseError`."""
        await self.fetchval("SELECT 1")

    async def fetch(self, sql: LiteralString, *args: object) -> list[Row]:
        """All rows of one statement."""
        async with self._checkout() as connection:
            return await connection.fetch(sql, *args)

    async def fetchrow(self, sql: LiteralString, *args: object) -> Row | None:
        """The first row of one statement, or None."""
        async with self._checkout() as connection:
            return await connection.fetchrow(sql, *args)

    async def fetchval(self, sql: LiteralString, *args: object) -> Any:
        """The first column of the first row, or None: a decode point, the query gives the type."""
        async with self._checkout() as connection:
            return await connection.fetchval(sql, *args)

    async def execute(self, sql: LiteralString, *args: object) -> str:
        """Run one statement; gives the server's command tag ("UPDATE 1")."""
        async with self._checkout() as connection:
            return await connection.execute(sql, *args)

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Check out a connection for a block: a session of one's own, reset afterwards.

        Errors, besides the statements': RESOURCE_EXHAUSTED when none becomes free within
        ``acquire_timeout``, DEADLINE_EXCEEDED when the ambient deadline comes first, UNAVAILABLE
        when a new one cannot be opened.
        """
        return self._checkout(stateful=True)

    @asynccontextmanager
    async def transaction(
        self, *, isolation: Isolation = "read_committed", read_only: bool = False
    ) -> AsyncGenerator[Connection]:
        """Run a block in a transaction: committed at its end, rolled back when anything leaves it.

        Errors, besides those of `connection`: `OutcomeUnknown` when the connection is lost during
        COMMIT; INTERNAL when a failed statement's error was caught inside the block, so that there
        was nothing left to commit.
        """
        async with (
            self._checkout() as connection,
            begun(connection, isolation, read_only=read_only),
        ):
            yield connection

    async def transact(
        self,
        fn: Callable[[Connection], Awaitable[T]],
        *,
        isolation: Isolation = "read_committed",
        read_only: bool = False,
        attempts: int = 3,
    ) -> T:
        """Run ``fn`` in a transaction, again from the start after a conflict with another one.

        Only for a function that may run more than once. Repeated are serialization failures and
        deadlocks, after a short pause, up to ``attempts`` times in all and not beyond the ambient
        deadline; the last error is raised. An outcome that is unknown is never repeated.
        """

        async def once() -> T:
            async with self.transaction(isolation=isolation, read_only=read_only) as tx:
                return await fn(tx)

        return await self._retry.run(once, attempts=attempts)

    def _checkout(self, *, stateful: bool = False) -> Checkout:
        if self._slots is None:
            raise stopped()
        return Checkout(
            self._slots, self._acquire_timeout, self._command_timeout, stateful=stateful
        )

    async def _connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(
            self._dsn,
            command_timeout=self._command_timeout,
            statement_cache_size=self._statement_cache_size,
            server_settings=self._settings,
        )

    async def _keep(self, slots: Slots) -> None:
        while True:
            await asyncio.sleep(self._tidy_every)
            slots.tidy(self._min_size)
            try:
                async with asyncio.timeout(self._tidy_every):
                    await slots.fill(self._min_size)
            except DRIVER_ERRORS:
                continue  # the server is away: who needs a connection is told, here we try again
