"""Checking out: wait for a connection, lend it for a block, decide what becomes of it afterwards.

Three ends: in order (it goes back as it is), with something left in the session (it is reset
first, for which the block waits), or cut off by a cancellation or a timeout (it is closed in the
background, so that whoever unwinds waits for nothing). Used by ``pool``; read ``slots`` next.
"""

import asyncio
from types import TracebackType
from typing import Final

from paceline.concurrency import name_timeout, remaining, timeout_message
from paceline.errors import Code
from paceline.postgres.connection import Connection
from paceline.postgres.errors import DRIVER_ERRORS, DatabaseError, translate
from paceline.postgres.slots import Session, Slots
from paceline.trace import span

_WAIT: Final = "waiting for a database connection"
_RESET_TIMEOUT: Final = 2.0


class Checkout:
    """One connection for one block. ``stateful``: to be reset whatever the block did."""

    __slots__ = (
        "_acquire_timeout",
        "_command_timeout",
        "_connection",
        "_session",
        "_slots",
        "_stateful",
    )
    _connection: Connection
    _session: Session

    def __init__(
        self, slots: Slots, acquire_timeout: float, command_timeout: float, *, stateful: bool
    ) -> None:
        self._slots = slots
        self._acquire_timeout = acquire_timeout
        self._command_timeout = command_timeout
        self._stateful = stateful

    async def __aenter__(self) -> Connection:
        left = remaining()
        if left == 0:
            raise DatabaseError(Code.DEADLINE_EXCEEDED, timeout_message(_WAIT))
        session = self._slots.take_idle()
        if session is None:
            with span("waiting for a database connection"):
                session = await self._wait(left)
        self._session = session
        self._connection = Connection(session.raw, self._command_timeout, stateful=self._stateful)
        return self._connection

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        connection = self._connection
        usable = (exc is None or isinstance(exc, Exception)) and not self._session.raw.is_closed()
        try:
            if usable and connection.stateful and not connection.interrupted:
                await _reset(connection)
        finally:
            connection.release()
            if usable and not connection.interrupted:
                self._slots.put(self._session)
            else:
                self._slots.discard(self._session)

    async def _wait(self, left: float | None) -> Session:
        patience = self._acquire_timeout
        full = self._slots.full
        try:
            async with asyncio.timeout(patience if left is None else min(patience, left)):
                return await self._slots.take()
        except TimeoutError as exc:
            if left is not None and left <= patience:
                raise DatabaseError(Code.DEADLINE_EXCEEDED, timeout_message(_WAIT)) from exc
            if full:
                message = f"no database connection became free within {patience:g}s"
                raise DatabaseError(Code.RESOURCE_EXHAUSTED, message) from exc
            raise DatabaseError(Code.UNAVAILABLE) from exc
        except asyncio.CancelledError:
            name_timeout(_WAIT)
            raise
        except DRIVER_ERRORS as exc:
            raise translate(exc) from exc


async def _reset(connection: Connection) -> None:
    try:
        await connection.reset(_RESET_TIMEOUT)
    except DatabaseError:
        # What the block did stands, and its caller needs no other connection: this one is closed.
        connection.interrupted = True
