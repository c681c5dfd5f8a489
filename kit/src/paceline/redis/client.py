"""Redis, or Valkey, as a service that may be away: short waits, and a breaker.

Invariant: no command takes longer than ``timeout``, whatever the server or the network does; after
a few failures in a row commands fail at once for a while, and one of them is the probe that finds
out whether the server is back. So a frozen server costs a process a few timeouts, not one a
request. A cache is not needed to be ready: `Redis.start` asks nothing of the server unless told to.
Used by ``store`` (which ``aside`` stands on) and by ``limit``.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, cast

from redis.exceptions import NoScriptError, RedisError, ResponseError

from paceline.clock import Clock
from paceline.errors import Code, Error
from paceline.log import Logger
from paceline.redis.connections import Answer, ConnectionPool, Word
from paceline.resilience import CircuitBreaker
from paceline.stats import StatsEntry
from paceline.trace import SpanKind, span

_MOST_KINDS: Final = 16
_SYSTEM: Final = {"db.system.name": "redis"}


class Script:
    """A Lua script; the server runs it whole, with nobody in between."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 - the server's own name


class Redis:
    """One server, at ``url`` (``redis://``, ``rediss://``, ``unix://``), behind a ``breaker``.

    Settings: ``timeout``, seconds a command may take, connecting included; ``connections``, the
    most; ``failures`` in a row after which it is left alone for ``rest`` seconds; ``required``:
    `start` fails when the server is away.

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
        connections: int = 8,
        failures: int = 5,
        rest: float = 1.0,
        required: bool = False,
    ) -> None:
        self._url = url
        self._log = log
        self._timeout = timeout
        self._size = connections
        self._required = required
        self._connections: ConnectionPool | None = None
        self._refusals: set[str] = set()
        self.breaker = CircuitBreaker(
            clock,
            name="redis",
            failure_threshold=failures,
            reset_timeout=rest,
            is_failure=_is_away,
            on_change=self._tell,
        )

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: its circuit breaker."""
        yield from self.breaker.stats_entries()

    async def start(self) -> None:
        """Let commands in. Errors: UNAVAILABLE when it is required and away."""
        if self._connections is None:
            self._connections = ConnectionPool(self._url, size=self._size)
        if self._required:
            await self.ping()

    async def stop(self) -> None:
        """Close the connections."""
        connections, self._connections = self._connections, None
        if connections is not None:
            await connections.close()

    async def ping(self) -> None:
        """See whether it answers. Errors: as for `get_many`."""
        await self._execute(["PING"])

    async def info(self) -> Mapping[str, str]:
        """What the server tells of itself, by ``INFO``'s names. Errors: as for `get_many`."""
        text = cast("bytes", await self._execute(["INFO"])).decode()
        fields = (line.partition(":") for line in text.splitlines() if ":" in line)
        return {name: value for name, _, value in fields}

    async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """The values of ``keys``, None for one that is not there.

        Errors: UNAVAILABLE when the server is away, resting, or too slow.
        """
        return cast("Sequence[bytes | None]", await self._execute(["MGET", *keys]))

    async def run(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Word]
    ) -> Sequence[Answer]:
        """Run a script that answers with a list. Errors: as for `get_many`."""
        words = [len(keys), *keys, *arguments]
        try:
            answer = await self._execute(["EVALSHA", script.digest, *words])
        except Error as exc:
            if not isinstance(exc.__cause__, NoScriptError):
                raise
            answer = await self._execute(["EVAL", script.text, *words])
        return cast("Sequence[Answer]", answer)

    async def _execute(self, words: Sequence[Word]) -> Answer:
        if self._connections is None:
            raise Error(Code.UNAVAILABLE, "redis is stopped")
        try:
            with span(str(words[0]), SpanKind.CLIENT, _SYSTEM), self.breaker.attempt():
                async with asyncio.timeout(self._timeout):
                    return await self._connections.execute(words)
        except TimeoutError as exc:
            message = f"redis took longer than {self._timeout:g}s"
            raise Error(Code.UNAVAILABLE, message) from exc
        except (RedisError, OSError) as exc:
            self._tell_refusal(exc)
            raise Error(Code.UNAVAILABLE, "redis is not available") from exc

    def _tell(self, exc: Exception | None) -> None:
        if exc is None:
            self._log.info("redis is back")
        else:
            self._log.warning("redis is away", error=exc)

    def _tell_refusal(self, exc: Exception) -> None:
        """Once for each kind: a server that is there and says no is set up wrongly, or full."""
        if isinstance(exc, ResponseError) and not isinstance(exc, NoScriptError):
            kind = str(exc).partition(" ")[0]
            if kind not in self._refusals and len(self._refusals) < _MOST_KINDS:
                self._refusals.add(kind)
                self._log.warning("redis refuses a command", error=exc)


def _is_away(exc: Exception) -> bool:
    """Whether the server is; one that answers "no" to a command may say yes to the next."""
    return not isinstance(exc, ResponseError)
