"""A few connections with a Redis server, one command at a time on each.

Invariant: a connection on which anything went wrong, a cancellation included, is never used again,
so no caller can get the answer to another's command. Rejected: the library's own pool, whose
checkout awaits bookkeeping between taking a connection and guarding it: a cancellation there loses
the place for ever. A pool of a few suffices, since callers share their trips. Used by ``redis``,
which bounds every wait here.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, Protocol, cast

import hiredis
from redis.asyncio import Connection as TcpConnection
from redis.asyncio.connection import parse_url
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError, ResponseError

Word = bytes | str | int | float
Answer = object

_CLOSE_TIMEOUT: Final = 1.0
_CLASS: Final = "connection_class"
# Its stub knows tuples of one word only.
_PACK: Final = cast("Callable[[tuple[Word, ...]], bytes]", getattr(hiredis, "pack_command"))  # noqa: B009 - as above


class RedisConnection(Protocol):
    """What is used of the library's connections, with types."""

    @property
    def is_connected(self) -> bool: ...  # noqa: D102 - the library's

    async def connect(self) -> None: ...  # noqa: D102 - the library's

    async def send_packed_command(self, command: Sequence[bytes]) -> None: ...  # noqa: D102 - the library's

    async def read_response(self) -> Answer: ...  # noqa: D102 - the library's

    async def disconnect(self, nowait: bool = False) -> None: ...  # noqa: D102, FBT001, FBT002 - the library's


class ConnectionPool:
    """At most ``size`` connections with the server at ``url``, opened when first needed.

    *Resources*: owns the connections, until `close`.
    """

    def __init__(self, url: str, *, size: int) -> None:
        self._settings = parse_url(url)
        self._places = asyncio.Semaphore(size)
        self._idle: list[RedisConnection] = []
        self._closed = False

    async def execute(self, words: Sequence[Word]) -> Answer:
        """Send one command and give its answer.

        A connection that was at rest may have ended meanwhile, as all do when a server restarts;
        then the command is sent once more, on a new one. Errors: the library's, ``OSError``.
        """
        async with self._places:
            if self._idle:
                try:
                    async with self._used(self._idle.pop()) as connection:
                        return await _ask(connection, words)
                except LostConnection:
                    await self._drop_idle()
            async with self._used(self._new()) as connection:
                await connection.connect()
                return await _ask(connection, words)

    async def close(self) -> None:
        """Close what is at rest, and what is in use when it comes back."""
        self._closed = True
        resting, self._idle = self._idle, []
        for connection in resting:
            with suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await connection.disconnect()

    @asynccontextmanager
    async def _used(self, connection: RedisConnection) -> AsyncGenerator[RedisConnection]:
        try:
            yield connection
        except ResponseError:  # an answer like any other, and the last byte of it has been read
            await self._put(connection)
            raise
        except BaseException:
            await _drop(connection)
            raise
        await self._put(connection)

    async def _put(self, connection: RedisConnection) -> None:
        if self._closed or not connection.is_connected:
            await _drop(connection)
        else:
            self._idle.append(connection)

    async def _drop_idle(self) -> None:
        while self._idle:
            await _drop(self._idle.pop())

    def _new(self) -> RedisConnection:
        kind = self._settings.get(_CLASS, TcpConnection)
        options = {name: value for name, value in self._settings.items() if name != _CLASS}
        # No timeouts of the library's own: the caller bounds a command as a whole. No greeting
        # either: it would be three trips for nothing.
        options |= {"socket_timeout": None, "socket_connect_timeout": None}
        options |= {"protocol": 2, "driver_info": None}
        return cast("Callable[..., RedisConnection]", kind)(**options)


async def _ask(connection: RedisConnection, words: Sequence[Word]) -> Answer:
    # The library packs word by word in Python, which costs a batch more than all else together.
    await connection.send_packed_command([_PACK(tuple(words))])
    return await connection.read_response()


async def _drop(connection: RedisConnection) -> None:
    """Close without waiting: it may be in the middle of a cancellation, or of a frozen server."""
    await connection.disconnect(nowait=True)
