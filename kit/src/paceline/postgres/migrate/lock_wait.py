"""A migration that needs a lock gives way when it has to wait, and tries again.

A statement that waits for a lock on a table stops everybody behind it, readers included, for as
long as the oldest transaction lasts. So it waits for a second, its file is rolled back, and it is
sent again after a pause in which the others go on. Invariant: a file is sent again only if nothing
of it can have been committed: it is one transaction, or its only BEGIN and COMMIT are its first and
last statement. Every other file waits as long as it has to: ``CONCURRENTLY``, which stops nobody
and would leave an invalid index behind, and a file that commits half way.
"""

import asyncio
import random
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from paceline.errors import Code, Error
from paceline.postgres.migrate.connection import MigrationConnection, ServerError
from paceline.postgres.migrate.statements import Statement, split

_NOT_AVAILABLE: Final = frozenset({"55P03", "40P01"})  # lock_timeout, deadlock
_CONTROL: Final = re.compile(
    r"(BEGIN|START\s+TRANSACTION|COMMIT|END|ROLLBACK|ABORT|PREPARE\s+TRANSACTION)\b", re.IGNORECASE
)
_OPENS: Final = re.compile(r"(BEGIN|START\s+TRANSACTION)\b", re.IGNORECASE)
_CLOSES: Final = re.compile(r"(COMMIT|END)\b", re.IGNORECASE)
# By themselves these commit as they go, or wait without stopping anybody.
_ALONE: Final = re.compile(
    r"(VACUUM|CALL|REINDEX|CLUSTER|DO\b.*\bCOMMIT\b)|.*\bCONCURRENTLY\b", re.IGNORECASE | re.DOTALL
)
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 8.0

_OLDEST: Final = """
SELECT format('pid %s (%s)', pid, concat_ws(', ',
    'user ' || usename,
    'application ' || nullif(application_name, ''),
    state,
    'since ' || to_char(xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || 'Z'))
FROM pg_stat_activity
WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() AND datname = current_database()
    AND backend_type IN ('client backend', 'autovacuum worker')
ORDER BY xact_start LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class LockWait:
    """How a migration waits for locks, in seconds.

    ``timeout``: how long a statement waits before its file gives way; 0 for ever.
    ``give_up_after``: how long it tries again, before `LockNotAvailable`.
    """

    timeout: float = 1.0
    give_up_after: float = 600.0


class LockNotAvailable(Error):
    """A migration got no lock for as long as it tried. Nothing was changed."""

    kind = "migration-lock-not-available"

    def __init__(self, label: str, seconds: float, oldest: str | None) -> None:
        holder = f"; the oldest transaction is of {oldest}" if oldest else ""
        super().__init__(
            Code.DEADLINE_EXCEEDED,
            f"migration {label} got no lock within {seconds:g}s and was not applied, nothing has"
            f" changed{holder}: end what holds the lock, or let it, and run migrate up again",
        )


def may_be_sent_again(sql: str) -> bool:
    """Whether nothing of a file that failed can have been committed."""
    statements = split(sql)
    if len(statements) == 1:
        return _ALONE.match(statements[0].text) is None
    control = [each for each in statements if _CONTROL.match(each.text)]
    return not control or _is_one_block(statements, control)


def _is_one_block(statements: list[Statement], control: list[Statement]) -> bool:
    first, last = statements[0], statements[-1]
    opened, closed = _OPENS.match(first.text), _CLOSES.match(last.text)
    return opened is not None and closed is not None and control == [first, last]


async def execute_giving_way(
    connection: MigrationConnection,
    sql: str,
    wait: LockWait,
    *,
    label: str,
    waiting: Callable[[float, str | None], None],
) -> None:
    """Send a file; again, if it had to wait for a lock. ``waiting`` is told of each time.

    It gets the seconds since the beginning, and the oldest transaction. Errors: the driver's;
    `LockNotAvailable`.
    """
    if wait.timeout <= 0 or not may_be_sent_again(sql):
        await connection.execute(sql)
        return
    set_timeout = f"SET lock_timeout = {max(1, round(wait.timeout * 1000))}"
    try:
        await _repeat(connection, sql, wait, set_timeout, label=label, waiting=waiting)
    except Exception:
        with suppress(Exception):  # the failure is what the caller needs, not a broken session
            await _reset(connection)
        raise
    await _reset(connection)


async def _repeat(
    connection: MigrationConnection,
    sql: str,
    wait: LockWait,
    set_timeout: str,
    *,
    label: str,
    waiting: Callable[[float, str | None], None],
) -> None:
    loop = asyncio.get_running_loop()
    began, pause = loop.time(), _FIRST_PAUSE
    while True:
        await connection.execute(set_timeout)  # each time: the file may have set another
        try:
            await connection.execute(sql)
        except Exception as exc:
            if not isinstance(exc, ServerError) or exc.sqlstate not in _NOT_AVAILABLE:
                raise
            if connection.is_in_transaction():
                await connection.execute("ROLLBACK")
            seconds = loop.time() - began
            oldest: str | None = await connection.fetchval(_OLDEST)
            if seconds + pause > wait.give_up_after:
                raise LockNotAvailable(label, round(seconds, 1), oldest) from exc
            waiting(seconds, oldest)
        else:
            return
        await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads the attempts
        pause = min(2 * pause, _LONGEST_PAUSE)


async def _reset(connection: MigrationConnection) -> None:
    if not connection.is_in_transaction():
        await connection.execute("RESET lock_timeout")
