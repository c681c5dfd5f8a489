"""A pool of connections: each statement bounded in time, no connection reused in an unknown state.

Invariant: a connection is reused only when the answers to all its statements were read completely.
One whose statement was interrupted (cancelled, timed out) is closed instead, in the background,
after the server was asked to cancel that statement; unwinding waits for nothing. Rejected: the
driver's own pool, which starts a task and resets the session for every statement, at twice the
cost of the statement itself, and has no maximum age of a connection.

After a failover a connection may be left on a server that takes no more writes. It is told by what
the server answers to a write (25006), or to `Pool.ping`; then the pool asks, once a second, whether
the address leads to a server that does, and replaces the connections to the others as soon as one
does. Until then reads are served by what there is.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, LiteralString, TypeVar

import asyncpg

from paceline._ranges import check_ranges
from paceline.concurrency import remaining
from paceline.errors import Code, Error
from paceline.postgres.checkout import Checkout
from paceline.postgres.connection import Connection, Row
from paceline.postgres.connector import Connector, wait_for_server
from paceline.postgres.errors import DRIVER_ERRORS, READ_ONLY, DatabaseError
from paceline.postgres.slots import Slots, pool_stopped
from paceline.postgres.transaction import IsolationLevel, is_conflict, open_transaction
from paceline.resilience import Retry, RetryBudget, RetryStats
from paceline.stats import StatsEntry

T = TypeVar("T")

_MIN_SIZE: Final = 5
_STATEMENT_CACHE_SIZE: Final = 100
_READ_ONLY_PAUSE: Final = 1.0
_IS_READ_ONLY: Final = "SELECT pg_catalog.current_setting('transaction_read_only')"
_READ_ONLY: Final = (
    "the database takes no writes (if none are meant, say target_session_attrs=any in its URL)"
)


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Numbers of connections, ``size`` of ``max_size``, and of callers that wait for one."""

    size: int
    in_use: int
    idle: int
    max_size: int
    waiting: int


_POSITIVE: Final = ("max_lifetime", "command_timeout", "maintenance_interval")
_NOT_NEGATIVE: Final = (
    "max_size", "min_size", "max_idle", "acquire_timeout", "start_timeout", "stop_timeout",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """Sizes and times of a `Pool`. All times are in seconds.

    ``max_size``: the most connections. ``min_size``: how many stay open; 5 by default, or
    ``max_size`` when that is less. ``max_lifetime``: the age at which a connection is replaced,
    once it is not in use (each a little earlier, so that they are not all replaced at once).
    ``max_idle``: how long a connection beyond ``min_size`` may stay idle. ``acquire_timeout``: the
    longest wait for a connection. ``command_timeout``: the most any statement may take.
    ``start_timeout``: how long `Pool.start` waits for a server that is starting up.
    ``stop_timeout``: how long `Pool.stop` waits for connections in use. ``maintenance_interval``:
    how often idle connections are checked. ``application_name``: as the server shows it.

    Errors: ``ValueError`` for sizes and times that cannot be.
    """

    max_size: int = 25
    min_size: int | None = None
    max_lifetime: float = 1800.0
    max_idle: float = 300.0
    acquire_timeout: float = 5.0
    command_timeout: float = 30.0
    start_timeout: float = 10.0
    stop_timeout: float = 10.0
    maintenance_interval: float = 10.0
    application_name: str | None = None

    def __post_init__(self) -> None:
        check_ranges(self, positive=_POSITIVE, not_negative=_NOT_NEGATIVE)
        if not 0 <= self.kept_open <= self.max_size or self.max_size < 1:
            raise ValueError(f"a pool cannot have {self.kept_open} to {self.max_size} connections")

    @property
    def kept_open(self) -> int:
        """``min_size``, or its default."""
        return min(_MIN_SIZE, self.max_size) if self.min_size is None else self.min_size


class Pool:
    """A pool of connections to one database.

        pool = Pool(dsn, PoolSettings(max_size=10))
        await pool.start()
        rows = await pool.fetch("SELECT id, name FROM records WHERE owner = $1", owner)

    The address may name several servers; one of them that takes writes is used, unless its
    ``target_session_attrs`` says otherwise. Errors: ``DatabaseError(INVALID_ARGUMENT)`` for an
    invalid address.

    *Resources*: `start` opens ``min_size`` connections and a task; `stop` ends all of them.
    """

    name = "database"

    def __init__(self, dsn: str, settings: PoolSettings | None = None) -> None:
        self._settings = settings or PoolSettings()
        self._connector = Connector(dsn, application_name=self._settings.application_name)
        # A conflict is not an outage, so its retries have a budget of their own: every transaction
        # may be retried, but not all of them twice.
        self._retry = Retry(
            RetryBudget(ratio=1.0, burst=100.0),
            initial_backoff=0.005, max_backoff=0.25, is_retryable=is_conflict,
        )  # fmt: skip
        self._slots: Slots | None = None
        self._maintenance: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        """All connections, including those being opened or closed."""
        return self._slots.size if self._slots else 0

    @property
    def in_use(self) -> int:
        """Connections that are checked out."""
        return self._slots.in_use if self._slots else 0

    @property
    def stats(self) -> PoolStats:
        """The numbers at this moment."""
        waiting = self._slots.waiting if self._slots else 0
        idle = max(0, self.size - self.in_use)
        return PoolStats(self.size, self.in_use, idle, self._settings.max_size, waiting)

    @property
    def retries(self) -> RetryStats:
        """How often transactions were retried after a conflict."""
        return self._retry.stats

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: its connections, and transactions that were repeated."""
        yield StatsEntry("pools", self.name, lambda: self.stats)
        yield StatsEntry("retries", "transactions", lambda: self.retries)

    async def start(self) -> None:
        """Open the first connections.

        Errors: ``DatabaseError(UNAVAILABLE)`` with host, port, database and the reason, when the
        server is not reachable in time or refuses.
        """
        if self._slots is not None:
            raise RuntimeError("the database pool is started already")
        slots = self._slots = Slots(
            self._connect,
            max_size=self._settings.max_size,
            max_lifetime=self._settings.max_lifetime,
            max_idle=self._settings.max_idle,
        )
        first = max(1, self._settings.kept_open)
        dsn = self._connector.dsn
        await wait_for_server(lambda: slots.fill(first), dsn, self._settings.start_timeout)
        self._maintenance = asyncio.create_task(
            self._maintain(slots), name="database pool maintenance"
        )

    async def stop(self) -> None:
        """Wait for connections in use, then interrupt the statements that still run, and close all.

        Takes ``stop_timeout`` and a few seconds at most, less under an ambient deadline.
        Errors: ``Error(ABORTED)`` when connections were still in use.
        """
        slots, self._slots = self._slots, None
        maintenance, self._maintenance = self._maintenance, None
        if slots is None:
            return
        if maintenance is not None:
            maintenance.cancel()
        left = remaining()
        timeout = self._settings.stop_timeout
        cut_off = await slots.close(timeout if left is None else min(timeout, left / 2))
        if maintenance is not None:
            await asyncio.wait((maintenance,))
        if cut_off:
            raise Error(Code.ABORTED, f"{cut_off} database connections were still in use")

    async def ping(self) -> None:
        """Whether the server answers and takes writes.

        Only whether it answers, if the address says so: ``target_session_attrs`` any, standby,
        prefer-standby or read-only. Errors: `DatabaseError`; UNAVAILABLE when it is read-only.
        """
        async with self._checkout() as connection:
            if not self._connector.address.expects_writable:
                await connection.fetchval("SELECT 1")
            elif await connection.fetchval(_IS_READ_ONLY) == "on":
                connection.read_only = True
                raise DatabaseError(Code.UNAVAILABLE, _READ_ONLY, sqlstate=READ_ONLY)

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
        """Run one statement and return the server's command tag ("UPDATE 1").

        Errors: as of `Connection`; `OutcomeUnknown` for a write whose answer was lost.
        """
        async with self._checkout() as connection:
            return await connection.execute(sql, *args)

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Check out a connection for a block, to set parameters, lock or listen; reset afterwards.

        Errors, besides the statements': RESOURCE_EXHAUSTED when none becomes free within
        ``acquire_timeout``, DEADLINE_EXCEEDED when the ambient deadline comes first, UNAVAILABLE
        when a new one cannot be opened.
        """
        return self._checkout(always_reset=True)

    @asynccontextmanager
    async def transaction(
        self, *, isolation: IsolationLevel = "read_committed", read_only: bool = False
    ) -> AsyncGenerator[Connection]:
        """Run a block in a transaction: committed at its end, rolled back after any exception.

        Errors, besides those of `connection`: `OutcomeUnknown` when the connection is lost during
        COMMIT; INTERNAL when the block caught the error of a failed statement, because the server
        has then rolled back.
        """
        async with (
            self._checkout() as connection,
            open_transaction(connection, isolation, read_only=read_only),
        ):
            yield connection

    async def transact(
        self,
        fn: Callable[[Connection], Awaitable[T]],
        *,
        isolation: IsolationLevel = "read_committed",
        read_only: bool = False,
        attempts: int = 3,
    ) -> T:
        """Run ``fn`` in a transaction, and again from the start after a conflict with another one.

        Only for a function that may run more than once. Serialization failures and deadlocks are
        retried after a short pause, up to ``attempts`` attempts and not beyond the ambient
        deadline; then the last error is raised. `OutcomeUnknown` is never retried.
        """

        async def once() -> T:
            async with self.transaction(isolation=isolation, read_only=read_only) as tx:
                return await fn(tx)

        return await self._retry.run(once, max_attempts=attempts)

    def _checkout(self, *, always_reset: bool = False) -> Checkout:
        if self._slots is None:
            raise pool_stopped()
        return Checkout(
            self._slots,
            self._settings.acquire_timeout,
            self._settings.command_timeout,
            always_reset=always_reset,
        )

    async def _connect(self) -> asyncpg.Connection:
        # Without a command timeout of the driver's: `Connection` gives each statement its own.
        return await self._connector.open(statement_cache_size=_STATEMENT_CACHE_SIZE)

    async def _maintain(self, slots: Slots) -> None:
        interval, min_size = self._settings.maintenance_interval, self._settings.kept_open
        loop = asyncio.get_running_loop()
        due = loop.time() + interval
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await slots.read_only.wait()
            if slots.read_only.is_set():
                slots.read_only.clear()  # in any case, or the wait above ends at once for ever
                if self._connector.address.expects_writable:
                    if not await self._replace_read_only(slots):
                        slots.read_only.set()
                    await asyncio.sleep(min(_READ_ONLY_PAUSE, interval))
            if loop.time() < due:
                continue
            due = loop.time() + interval
            slots.trim(min_size)
            try:
                async with asyncio.timeout(interval):
                    await slots.fill(min_size)
            except DRIVER_ERRORS:
                continue  # the server is unreachable: checkouts say so, the next round tries again

    async def _replace_read_only(self, slots: Slots) -> bool:
        """Let go of connections that take no writes, if a new one does; gives whether one does."""
        try:
            async with asyncio.timeout(self._settings.acquire_timeout):
                probe = await self._connector.open(target="read-write")
        except (*DRIVER_ERRORS, DatabaseError):
            return False
        probe.terminate()
        await slots.check_idle(self._takes_writes)
        return True

    async def _takes_writes(self, raw: asyncpg.Connection) -> bool:
        answer: object = await raw.fetchval(_IS_READ_ONLY, timeout=_READ_ONLY_PAUSE)
        return answer == "off"
