"""Checkout: wait for a connection, use it for a block, then return, reset or close it.

A connection whose statements all completed is returned as it is. One whose session was changed is
reset first, and the block waits for that. One on which a statement was interrupted, by a
cancellation or a timeout, is closed in the background, so that unwinding waits for nothing.
"""

import asyncio
from types import TracebackType
from typing import Final

from paceline.concurrency import name_timeout, remaining, timeout_message
from paceline.errors import Code
from paceline.postgres.connection import Connection
from paceline.postgres.errors import DRIVER_ERRORS, DatabaseError, translate
from paceline.postgres.slots import PooledConnection, Slots
from paceline.trace import span

_WAIT: Final = "waiting for a database connection"
_RESET_TIMEOUT: Final = 2.0


class Checkout:
    """One connection for one block. ``always_reset``: also after a block that changed no state."""

    __slots__ = (
        "_acquire_timeout",
        "_always_reset",
        "_command_timeout",
        "_connection",
        "_pooled",
        "_slots",
    )
    _connection: Connection
    _pooled: PooledConnection

    def __init__(
        self, slots: Slots, acquire_timeout: float, command_timeout: float, *, always_reset: bool
    ) -> None:
        self._slots = slots
        self._acquire_timeout = acquire_timeout
        self._command_timeout = command_timeout
        self._always_reset = always_reset

    async def __aenter__(self) -> Connection:
        left = remaining()
        if left == 0:
            raise DatabaseError(Code.DEADLINE_EXCEEDED, timeout_message(_WAIT))
        pooled = self._slots.acquire_idle()
        if pooled is None:
            with span(_WAIT):
                pooled = await self._wait(left)
        self._pooled = pooled
        self._connection = Connection(
            pooled.raw, self._command_timeout, needs_reset=self._always_reset
        )
        return self._connection

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        connection = self._connection
        usable = (exc is None or isinstance(exc, Exception)) and not self._pooled.raw.is_closed()
        try:
            if usable and connection.needs_reset and not connection.interrupted:
                await _reset(connection)
        finally:
            connection.detach()
            if connection.read_only:
                self._slots.read_only.set()
            if usable and not connection.interrupted:
                self._slots.release(self._pooled)
            else:
                self._slots.discard(self._pooled)

    async def _wait(self, left: float | None) -> PooledConnection:
        timeout = self._acquire_timeout
        full = self._slots.full
        try:
            async with asyncio.timeout(timeout if left is None else min(timeout, left)):
                return await self._slots.acquire()
        except TimeoutError as exc:
            if left is not None and left <= timeout:
                raise DatabaseError(Code.DEADLINE_EXCEEDED, timeout_message(_WAIT)) from exc
            if full:
                message = f"no database connection became free within {timeout:g}s"
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
        # Not raised, because the block itself succeeded: the connection is closed.
        connection.interrupted = True
