"""A client for a Redis or Valkey server that may be unavailable: short timeouts and a breaker.

Invariant: no command takes longer than ``timeout``, whatever the server or the network does. After
a few failures in a row the breaker opens and commands fail at once for a while; then single
commands probe whether the server is available again. So a frozen server costs a process a few
timeouts in all, and not one for each request. A cache is not required for readiness: `Redis.start`
contacts the server only if it is ``required``.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, cast

from redis.exceptions import NoScriptError, RedisError, ResponseError

from paceline.clock import Clock
from paceline.errors import Code, Error
from paceline.log import Logger
from paceline.redis.connection_pool import ConnectionPool, RedisArgument, RedisReply
from paceline.resilience import CircuitBreaker
from paceline.stats import StatsEntry
from paceline.trace import SpanKind, span

_MAX_LOGGED_KINDS: Final = 16
_SYSTEM: Final = {"db.system.name": "redis"}


class Script:
    """A Lua script. The server runs it atomically."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest: str = hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 - the server's own name


class Redis:
    """One server, at ``url`` (``redis://``, ``rediss://``, ``unix://``), behind a ``breaker``.

    ``timeout``: seconds that a command may take, connecting included. ``max_connections``: the
    size of the pool. The breaker opens after ``failure_threshold`` failures in a row, for
    ``reset_timeout`` seconds.
    ``required``: `start` fails when the server is unavailable.

        redis = Redis("redis://localhost", log, clock, timeout=0.1)
        async with Lifecycle([redis], log):
            await redis.get_many(["a", "b"])

    *Resources*: its connections, from the first command until `stop`.
    """

    name = "redis"

    def __init__(
        self,
        url: str,
        log: Logger,
        clock: Clock,
        *,
        timeout: float = 0.1,
        max_connections: int = 8,
        failure_threshold: int = 5,
        reset_timeout: float = 1.0,
        required: bool = False,
    ) -> None:
        self._url = url
        self._log = log
        self._timeout = timeout
        self._max_connections = max_connections
        self._required = required
        self._pool: ConnectionPool | None = None
        self._logged_kinds: set[str] = set()
        self.breaker: CircuitBreaker = CircuitBreaker(
            clock,
            name="redis",
            failure_threshold=failure_threshold,
            reset_timeout=reset_timeout,
            is_failure=_is_unavailable,
            on_change=self._log_change,
        )

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: its circuit breaker."""
        yield from self.breaker.stats_entries()

    async def start(self) -> None:
        """Accept commands. Errors: UNAVAILABLE when the server is required and unavailable."""
        if self._pool is None:
            self._pool = ConnectionPool(self._url, size=self._max_connections)
        if self._required:
            await self.ping()

    async def stop(self) -> None:
        """Close the connections. Commands fail from now on."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def ping(self) -> None:
        """Check that the server answers. Errors: as for `execute`."""
        await self.execute(["PING"])

    async def info(self) -> Mapping[str, str]:
        """The fields of the server's ``INFO``, by name. Errors: as for `execute`."""
        text = cast("bytes", await self.execute(["INFO"])).decode()
        fields = (line.partition(":") for line in text.splitlines() if ":" in line)
        return {name: value for name, _, value in fields}

    async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """The values of ``keys``, None for one that does not exist. Errors: as for `execute`."""
        return cast("Sequence[bytes | None]", await self.execute(["MGET", *keys]))

    async def run(
        self, script: Script, keys: Sequence[str], arguments: Sequence[RedisArgument]
    ) -> Sequence[RedisReply]:
        """Run a script that returns a list. Errors: as for `execute`."""
        call = [len(keys), *keys, *arguments]
        try:
            reply = await self.execute(["EVALSHA", script.digest, *call])
        except Error as exc:
            if not isinstance(exc.__cause__, NoScriptError):
                raise
            reply = await self.execute(["EVAL", script.text, *call])
        return cast("Sequence[RedisReply]", reply)

    async def execute(self, command: Sequence[RedisArgument]) -> RedisReply:
        """Send one command, as a list of its parts, and return its reply.

        Errors: UNAVAILABLE when the server is unavailable or too slow, refuses the command, or the
        breaker is open.
        """
        if self._pool is None:
            raise Error(Code.UNAVAILABLE, "redis is stopped")
        try:
            with span(str(command[0]), SpanKind.CLIENT, _SYSTEM), self.breaker.attempt():
                async with asyncio.timeout(self._timeout):
                    return await self._pool.execute(command)
        except TimeoutError as exc:
            message = f"redis took longer than {self._timeout:g}s"
            raise Error(Code.UNAVAILABLE, message) from exc
        except (RedisError, OSError) as exc:
            self._log_error_reply(exc)
            raise Error(Code.UNAVAILABLE, "redis is not available") from exc

    def _log_change(self, exc: Exception | None) -> None:
        if exc is None:
            self._log.info("redis is available again")
        else:
            self._log.warning("redis is unavailable", error=exc)

    def _log_error_reply(self, exc: Exception) -> None:
        """Once for each kind: an error reply means wrong configuration, or a full server."""
        if isinstance(exc, ResponseError) and not isinstance(exc, NoScriptError):
            kind = str(exc).partition(" ")[0]
            if kind not in self._logged_kinds and len(self._logged_kinds) < _MAX_LOGGED_KINDS:
                self._logged_kinds.add(kind)
                self._log.warning("redis refuses a command", error=exc)


def _is_unavailable(exc: Exception) -> bool:
    """Whether the server is; one that replies with an error may accept the next command."""
    return not isinstance(exc, ResponseError)
