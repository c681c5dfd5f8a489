"""The migrator: applies a plan to one database, step by step, as golang-migrate does.

Each step: the version is written dirty, the file is sent whole as one simple query (so its
statements are one transaction, unless it is a lone ``CREATE INDEX CONCURRENTLY`` or the like),
the version is written clean. Invariant: nothing runs on a dirty database, and all writes happen
under the lock, with the version read again under it. A database that is current takes no lock.
A dirty version read before the lock proves nothing: another migrator may be in mid-step.
"""

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Protocol, runtime_checkable

from paceline.postgres.migrate.connection import MigrationConnection
from paceline.postgres.migrate.errors import (
    DirtyDatabase,
    MigrationInterrupted,
    NotEnoughMigrations,
    SharedSession,
)
from paceline.postgres.migrate.failure import describe_failure, transaction_left_open
from paceline.postgres.migrate.lock import lock_keys, migration_lock
from paceline.postgres.migrate.lock_wait import LockNotAvailable, LockWait, execute_giving_way
from paceline.postgres.migrate.plan import MigrationState, Plan, Step, plan_down, plan_goto, plan_up
from paceline.postgres.migrate.source import MigrationSource
from paceline.postgres.migrate.statements import is_empty
from paceline.postgres.migrate.version_table import VersionTable

_Planner = Callable[[int | None], Plan]


class Progress(Protocol):
    """Receives each step once it is applied."""

    def applied(self, step: Step, seconds: float) -> None:
        """``step`` is applied and committed; it took ``seconds``."""
        ...


@runtime_checkable
class WaitProgress(Progress, Protocol):
    """A `Progress` that is told of waiting, too."""

    def waiting(self, step: Step, seconds: float, oldest: str | None) -> None:
        """``step`` got no lock, gave way and is tried again; ``seconds`` since its beginning.

        ``oldest``: the session with the oldest transaction, which most likely has the lock.
        """
        ...


class Migrator:
    """Moves one database between the versions of one source.

    ``lock_timeout``: how long to wait for another migrator, in seconds. ``lock_wait``: how the
    migrations' own statements wait for locks on tables. ``table`` is a bare name, in the session's
    current schema. ``shares_session``: the session may be another's after each transaction, so only
    `state` is possible.
    All methods raise the driver's own errors for a broken connection.

    *Resources*: borrows ``connection``, which must be a session of its own for as long as a
    method runs; every lock it takes is released when the method ends.
    """

    def __init__(
        self,
        connection: MigrationConnection,
        source: MigrationSource,
        *,
        lock_timeout: float = 15.0,
        lock_wait: LockWait | None = None,
        table: str = "schema_migrations",
        progress: Progress | None = None,
        shares_session: bool = False,
    ) -> None:
        self._shares_session = shares_session
        self._connection = connection
        self._source = source
        self._lock_timeout = lock_timeout
        self._lock_wait = lock_wait or LockWait()
        self._table = VersionTable(connection, table)
        self._progress = progress
        self._stopping = False
        self.applying: bool = False

    async def state(self) -> MigrationState:
        """The version the database is at, read without a lock."""
        return await self._table.read()

    async def up(self, limit: int | None = None) -> tuple[Step, ...]:
        """Apply ``limit`` migrations, all when None; returns the steps that were applied.

        Errors: `DirtyDatabase`, `UnknownVersion`, `SourceError`, `LockTimeout`, `MigrationFailed`;
        `LockNotAvailable`, of which nothing is left; `NotEnoughMigrations`, after applying all,
        when ``limit`` is more than there are.
        """
        return await self._migrate(partial(plan_up, self._source, limit=_limit(limit)))

    async def down(self, limit: int | None = None) -> tuple[Step, ...]:
        """Undo ``limit`` migrations, all when None; returns the steps that were applied.

        Errors: as `up`.
        """
        return await self._migrate(partial(plan_down, self._source, limit=_limit(limit)))

    async def goto(self, version: int) -> tuple[Step, ...]:
        """Migrate up or down to ``version``; returns the steps that were applied.

        Errors: as `up`, without `NotEnoughMigrations`.
        """
        return await self._migrate(partial(plan_goto, self._source, target=version))

    async def force(self, version: int | None) -> None:
        """Record that the schema is at ``version`` (None: at none) and clean; runs nothing.

        Errors: `LockTimeout`.
        """
        async with await self._locked():
            await self._table.ensure()
            await self._table.write(MigrationState(version))

    def stop(self) -> None:
        """Finish the current step, then raise `MigrationInterrupted` in the running method."""
        self._stopping = True

    async def _migrate(self, planner: _Planner) -> tuple[Step, ...]:
        state = await self._table.read()
        if not state.dirty and planner(state.version) == Plan():
            return ()
        async with await self._locked():
            await self._table.ensure()
            state = await self._table.read()
            if state.dirty:
                raise DirtyDatabase(state.version)
            return await self._run(state.version, planner(state.version))

    async def _locked(self) -> AbstractAsyncContextManager[None]:
        if self._shares_session:
            raise SharedSession
        location = await self._table.locate()
        keys = lock_keys(location.schema, self._table.name, location.database)
        return migration_lock(self._connection, keys, self._lock_timeout)

    async def _run(self, version: int | None, plan: Plan) -> tuple[Step, ...]:
        # Every file is read before the first is run, so an unreadable one changes nothing.
        bodies = [(step, step.file.read()) for step in plan.steps]
        for done, (step, sql) in enumerate(bodies):
            if self._stopping:
                raise MigrationInterrupted(version, len(bodies) - done)
            self.applying = True
            try:
                await self._apply(step, sql, version)
            finally:
                self.applying = False
            version = step.target
        if plan.missing:
            raise NotEnoughMigrations(len(bodies) + plan.missing, len(bodies))
        return plan.steps

    async def _apply(self, step: Step, sql: str, version: int | None) -> None:
        started = time.perf_counter()
        await self._table.write(MigrationState(step.target, dirty=True))
        if not is_empty(sql):
            try:
                await self._execute(step, sql)
            except LockNotAvailable:
                await self._table.write(MigrationState(version))  # nothing of it was done
                raise
        await self._table.write(MigrationState(step.target))
        if self._progress is not None:
            self._progress.applied(step, time.perf_counter() - started)

    async def _execute(self, step: Step, sql: str) -> None:
        def waiting(seconds: float, oldest: str | None) -> None:
            if isinstance(self._progress, WaitProgress):
                self._progress.waiting(step, seconds, oldest)

        try:
            await execute_giving_way(
                self._connection, sql, self._lock_wait, label=step.file.label, waiting=waiting
            )
        except LockNotAvailable:
            raise
        except Exception as exc:
            raise describe_failure(step, sql, exc) from exc
        if self._connection.is_in_transaction():
            raise transaction_left_open(step)


def _limit(limit: int | None) -> int | None:
    if limit is not None and limit < 0:
        raise ValueError(f"a limit is 0 or more, not {limit}")
    return limit
