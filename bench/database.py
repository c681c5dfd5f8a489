"""The database under the bench: one durable PostgreSQL, the same rows for everybody's turn.

Invariant: before a turn that writes, the tables hold what `seed` put in and nothing else, vacuumed
and checkpointed; after it, `check` says whether each acknowledged write is there exactly once.
Autovacuum is off, since it would hit one server and not another. Statements are counted by
pg_stat_statements, asleep while anything is timed. Used by ``service``.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import asyncpg
from cases import World
from load import Result

from myservice.cli import SERVICE
from paceline.engines import PostgresEngine
from paceline.postgres import connect
from paceline.postgres.migrate import SchemaUpgrade

RECORDS, ACCOUNTS, BALANCE = 100_000, 10_000, 1_000_000
OWNER = "bench"
_OPTIONS = {
    "autovacuum": "off",
    "max_connections": "400",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.save": "off",
}
_DURABLE = ("fsync", "synchronous_commit", "full_page_writes")
_QUIET_TIMEOUT = 15.0
_UNCERTAIN_FROM = 500  # an answer that does not say whether the write was done

# UUIDv7, as the service makes them: 48 bits of milliseconds, version, variant, the rest a hash.
_ID: LiteralString = """(lpad(to_hex(1767225600000 + n * 1000), 12, '0') || '7'
    || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid"""
_SEED_RECORDS: LiteralString = f"""
    INSERT INTO records (id, name, metadata, data, version, created_at, updated_at)
    SELECT {_ID}, 'record ' || n || ' of the spring collection',
        jsonb_build_object('colour', (ARRAY['blue', 'green', 'red'])[1 + n % 3],
            'region', (ARRAY['north', 'south'])[1 + n % 2],
            'source', 'https://shop.example/imports/2026-' || n % 12),
        json_build_object('quantity', n % 99, 'price', 1000 + n, 'tags', ARRAY['new', 'gift']),
        1, to_timestamp(1767225600 + n), to_timestamp(1767225600 + n)
    FROM generate_series(1, $1::int) AS n
"""  # noqa: S608 - made of constants
_SEED_ACCOUNTS: LiteralString = f"""
    INSERT INTO accounts (id, owner, balance, created_at)
    SELECT {_ID}, $2, $3, to_timestamp(1767225600 + n) FROM generate_series(1, $1::int) AS n
"""  # noqa: S608 - made of constants
_WRONG_BALANCES: LiteralString = """
    WITH moved AS (
        SELECT id, sum(amount) AS amount
        FROM (SELECT to_id AS id, amount FROM transfers
              UNION ALL SELECT from_id, -amount FROM transfers) AS both_sides
        GROUP BY id
    )
    SELECT count(*) FROM accounts LEFT JOIN moved USING (id)
    WHERE balance <> $1 + coalesce(amount, 0)
"""


@dataclass(frozen=True)
class Findings:
    """Whether the writes of a turn are there. ``rows`` it left, ``problems`` to be printed."""

    rows: int
    problems: list[str]


class Progress:
    """What engines and rooms of the kit have to tell, to stderr."""

    def info(self, event: str, /, **fields: object) -> None:
        say(f"{event} {fields}")

    def warning(self, event: str, /, **fields: object) -> None:
        say(f"{event} {fields}")

    def error(self, event: str, /, **fields: object) -> None:
        say(f"{event} {fields}")

    def debug(self, event: str, /, **fields: object) -> None: ...


def say(line: str) -> None:
    """A line for who waits."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


class Database:
    """The tables, through a session of the bench's own."""

    def __init__(
        self, session: asyncpg.Connection, dsn: str, postmaster: int, server_log: Path
    ) -> None:
        self.dsn = dsn
        self.postmaster = postmaster
        self._records = RECORDS
        self._session = session
        self._log = server_log

    async def settings(self) -> dict[str, str]:
        """What makes commits durable, as in effect. Errors: SystemExit when they are not."""
        found = {name: str(await self._session.fetchval(f"SHOW {name}")) for name in _DURABLE}
        if set(found.values()) != {"on"}:
            raise SystemExit(f"not durable: {found}")
        return found | {"server_version": str(await self._session.fetchval("SHOW server_version"))}

    async def seed(self, records: int = RECORDS) -> World:
        """Bring the schema up and fill the tables."""
        self._records = records
        await SchemaUpgrade(self.dsn, SERVICE.get_migrations()).start()
        await self._session.execute("SET lock_timeout = '10s'; SET statement_timeout = '120s'")
        # The ledger's triggers forbid what a bench must do between cases: empty it.
        await self._session.execute("SET session_replication_role = replica")
        await self._session.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        await self.count_statements(on=False)
        await self._session.execute(_SEED_RECORDS, records)
        await self._session.execute(_SEED_ACCOUNTS, ACCOUNTS, OWNER, BALANCE)
        await self._session.execute("VACUUM ANALYZE")
        await self._session.execute("CHECKPOINT")
        record_ids = await self._session.fetch("SELECT id::text FROM records ORDER BY id")
        account_ids = await self._session.fetch("SELECT id::text FROM accounts ORDER BY id")
        return World([row[0] for row in record_ids], [row[0] for row in account_ids])

    async def reset(self, table: str | None) -> None:
        """Leave only the seed in the tables that a case writes, as good as new."""
        if table == "records":
            await self._session.execute(
                "DELETE FROM records WHERE created_at > to_timestamp(1767225600 + $1::int)",
                self._records,
            )
            await self._session.execute("VACUUM ANALYZE records")
        elif table == "transfers":
            await self._session.execute("TRUNCATE transfers, idempotency_keys")
            await self._session.execute(
                "UPDATE accounts SET balance = $1 WHERE balance <> $1", BALANCE
            )
            await self._session.execute("VACUUM ANALYZE accounts, transfers")
        if table:
            await self._session.execute("CHECKPOINT")

    async def check(self, table: str | None, result: Result) -> Findings:
        """Compare what a turn left with what it was told. Nothing to check after reading."""
        if table is None:
            return Findings(0, [])
        await self._until_quiet()
        problems: list[str] = []
        if table == "records":
            rows = int(await self._session.fetchval("SELECT count(*) FROM records"))
            rows -= self._records
        else:
            rows = int(await self._session.fetchval("SELECT count(*) FROM transfers"))
            total = int(await self._session.fetchval("SELECT sum(balance) FROM accounts"))
            wrong = int(await self._session.fetchval(_WRONG_BALANCES, BALANCE))
            if total != ACCOUNTS * BALANCE:
                problems.append(f"TOTAL CHANGED by {total - ACCOUNTS * BALANCE}")
            if wrong:
                problems.append(f"{wrong} BALANCES DIFFER from their transfers")
        return Findings(rows, problems + lost_or_doubled(rows, result))

    async def count_statements(self, *, on: bool) -> None:
        """Start or end the counting; every session hears of it within a moment."""
        track = "'top'" if on else "'none'"
        await self._session.execute(f"ALTER SYSTEM SET pg_stat_statements.track = {track}")
        await self._session.execute("SELECT pg_reload_conf()")
        await asyncio.sleep(0.2)
        if on:
            await self._session.execute("SELECT pg_stat_statements_reset()")

    async def statements(self) -> int:
        """Executed since the counting began, BEGIN and COMMIT included."""
        return int(
            await self._session.fetchval(
                "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements"
                " WHERE query NOT LIKE '%pg_stat_statements%'"
            )
        )

    def deadlocks(self) -> int:
        """So far, by the server's log: its statistics come up to ten seconds late."""
        return self._log.read_bytes().count(b"deadlock detected")

    async def _until_quiet(self) -> None:
        """Wait until no session but ours is in the middle of something."""
        async with asyncio.timeout(_QUIET_TIMEOUT):
            while await self._session.fetchval(  # noqa: ASYNC110 - only the server knows
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE state <> 'idle'"
                " AND backend_type = 'client backend' AND pid <> pg_backend_pid())"
            ):
                await asyncio.sleep(0.05)


def lost_or_doubled(rows: int, result: Result) -> list[str]:
    """Each acknowledged write is one row; one whose outcome nobody told may be one, too."""
    failed = sum(n for status, n in result.statuses.items() if int(status) >= _UNCERTAIN_FROM)
    uncertain = failed + result.broken + result.unanswered
    if rows < result.acknowledged:
        return [f"LOST {result.acknowledged - rows} of {result.acknowledged} acknowledged writes"]
    if rows > result.acknowledged + uncertain:
        return [f"DOUBLED: {rows} rows for {result.acknowledged} acknowledged writes"]
    return []


@contextmanager
def scratch() -> Generator[Path]:
    """A folder of this run, gone after it, which PostgreSQL's own account may enter."""
    with tempfile.TemporaryDirectory(prefix="paceline-bench-") as folder:
        os.chmod(folder, 0o755)  # noqa: S103, PTH101 - PostgreSQL runs under its own account
        yield Path(folder)


@asynccontextmanager
async def running_database(folder: Path, **options: str) -> AsyncGenerator[Database, None]:
    """A new PostgreSQL in ``folder``, durable; ``options`` are more of its settings.

    *Resources*: the server and a session, until the block ends.
    """
    # Nothing of the engine's is turned off: its commits are as durable as PostgreSQL's own.
    engine = PostgresEngine(Progress(), data_dir=folder, options=_OPTIONS | options, progress=say)
    await engine.start()
    try:
        session = await connect(engine.dsn())
        try:
            if engine.pid is None:
                raise SystemExit("PostgreSQL ended at once")
            yield Database(session, engine.dsn(), engine.pid, folder / "server.log")
        finally:
            await session.close(timeout=5)
    finally:
        await engine.stop()
