"""A small pool of connections to a Redis server, one command at a time on each.

Invariant: a connection on which anything went wrong, a cancellation included, is never used again,
so no caller can receive the reply to another caller's command. Rejected: the library's own pool,
whose checkout awaits between taking a connection and guarding it, so that a cancellation there
loses the slot for ever. A few connections suffice, since callers share batches. Nothing here has a
timeout: the client bounds each command as a whole.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from typing import Final, Protocol, cast

import hiredis
from redis.asyncio import Connection as TcpConnection
from redis.asyncio.connection import parse_url
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError, ResponseError

RedisArgument = bytes | str | int | float
"""A part of a command."""
RedisReply = object
"""What the server answers: bytes, an integer, None, or a list of those."""

_CLOSE_TIMEOUT: Final = 1.0
_MAX_KEY_LENGTH: Final = 128
_CLASS: Final = "connection_class"
# Its stub knows tuples of one type only.
_PACK: Final = cast(
    "Callable[[tuple[RedisArgument, ...]], bytes]",
    getattr(hiredis, "pack_command"),  # noqa: B009 - as above
)


def namespaced(namespace: str, key: str) -> str:
    """``key`` of ``namespace`` as the server's key; a long one by its hash, to bound memory."""
    if len(key) > _MAX_KEY_LENGTH:
        key = blake2b(key.encode(), digest_size=32).hexdigest()
    return f"{namespace}:{key}"


class RedisConnection(Protocol):
    """What is used of the library's connections, with types."""

    @property
    def is_connected(self) -> bool: ...  # noqa: D102 - the library's

    async def connect(self) -> None: ...  # noqa: D102 - the library's

    async def send_packed_command(self, command: Sequence[bytes]) -> None: ...  # noqa: D102 - the library's

    async def read_response(self) -> RedisReply: ...  # noqa: D102 - the library's

    async def disconnect(self, nowait: bool = False) -> None: ...  # noqa: D102, FBT001, FBT002 - the library's


class ConnectionPool:
    """At most ``size`` connections to the server at ``url``, opened when first needed.

    *Resources*: owns the connections, until `close`.
    """

    def __init__(self, url: str, *, size: int) -> None:
        self._settings = parse_url(url)
        self._slots = asyncio.Semaphore(size)
        self._idle: list[RedisConnection] = []
        self._closed = False

    async def execute(self, command: Sequence[RedisArgument]) -> RedisReply:
        """Send one command and return its reply.

        An idle connection may have been closed meanwhile, as all are when a server restarts; then
        the command is sent once more, on a new one. Errors: the library's, ``OSError``.
        """
        async with self._slots:
            if self._idle:
                try:
                    async with self._checked_out(self._idle.pop()) as connection:
                        return await _request(connection, command)
                except LostConnection:
                    await self._drop_idle()
            async with self._checked_out(self._new()) as connection:
                await connection.connect()
                return await _request(connection, command)

    async def close(self) -> None:
        """Close idle connections now, and those in use when they are returned."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            with suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await connection.disconnect()

    @asynccontextmanager
    async def _checked_out(self, connection: RedisConnection) -> AsyncGenerator[RedisConnection]:
        try:
            yield connection
        except ResponseError:  # a reply like any other, and it has been read to its end
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
        # No timeouts of the library's own: the caller bounds a command as a whole. No handshake
        # either: it would be three round trips for nothing.
        options |= {"socket_timeout": None, "socket_connect_timeout": None}
        options |= {"protocol": 2, "driver_info": None}
        return cast("Callable[..., RedisConnection]", kind)(**options)


async def _request(connection: RedisConnection, command: Sequence[RedisArgument]) -> RedisReply:
    # The library packs argument by argument in Python, which costs a batch more than all the rest.
    await connection.send_packed_command([_PACK(tuple(command))])
    return await connection.read_response()


async def _drop(connection: RedisConnection) -> None:
    """Close without waiting: the caller may be cancelled, or the server frozen."""
    await connection.disconnect(nowait=True)
