"""Commands of the service and engines as processes that a test kills, freezes and restarts.

A process is restarted on the same address after each kill, as by a supervisor, and ended by its
pid. `ApiClient.request` uses a connection of its own, so that a kill fails one request only.
"""

import asyncio
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from service_process import MYSERVICE, PATIENCE, environment

from paceline.engines import NatsEngine, PostgresEngine, free_ports
from paceline.testing import TEST_SECRET, SilentLog


@dataclass(frozen=True)
class ApiClient:
    """A client of one server: its port, and the token to send."""

    port: int
    token: str

    async def request(
        self, method: str, path: str, body: Mapping[str, object] | None = None, key: str = ""
    ) -> tuple[int, dict[str, str]]:
        """One request. Errors: OSError, IncompleteReadError, TimeoutError without an answer."""
        content = b"" if body is None else json.dumps(body).encode()
        keyed = f"Idempotency-Key: {key}\r\n" if key else ""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: bank\r\nConnection: close\r\n"
            f"Authorization: Bearer {self.token}\r\nContent-Type: application/json\r\n"
            f"{keyed}Content-Length: {len(content)}\r\n\r\n"
        )
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                writer.write(head.encode() + content)
                status = int((await reader.readuntil(b"\r\n")).split()[1])
                rest = await reader.readuntil(b"\r\n\r\n")
                lines = dict(line.split(b": ", 1) for line in rest.lower().split(b"\r\n") if line)
                answer = await reader.readexactly(int(lines[b"content-length"]))
                return status, json.loads(answer)
            finally:
                writer.close()


class ServiceCommand:
    """A long-running command of the service, on the same ports after each restart.

    ``words``: the command line; ``port``: where it listens once it is up; ``grpc_port`` also;
    ``prefix``: the command that runs it, such as ``prlimit``.
    """

    def __init__(
        self,
        *words: str,
        port: int,
        log: Path,
        grpc_port: int = 0,
        prefix: Sequence[str] = (),
        **settings: str,
    ) -> None:
        self.port = port
        self._prefix = prefix
        self.grpc_port = grpc_port
        self._words = words
        self._log = log
        self._env = environment(
            APP_JWT_SECRET=TEST_SECRET,
            APP_HOST="127.0.0.1",
            APP_GRPC_PORT=str(grpc_port),
            **settings,
        )
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = self._spawn()
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                assert time.monotonic() < deadline, self._log.read_text()[-2000:]
                await asyncio.sleep(0.05)
                if self._process.poll() is not None:
                    # An engine may be restarting just now: start it again, as a supervisor would.
                    self._process = self._spawn()
            else:
                writer.close()
                return

    @property
    def pid(self) -> int:
        """Its process id. Errors: ValueError when it does not run."""
        if self._process is None:
            raise ValueError("it does not run")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal that does not end it."""
        os.kill(self.pid, number)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [*self._prefix, MYSERVICE, *self._words], env=self._env, stdout=log, stderr=log
            )

    def stop(self, number: signal.Signals) -> int:
        """Send it the signal and return its exit code; 0 when it does not run."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        return _wait_for(process)

    async def terminate(self) -> int:
        """As `stop` with SIGTERM, without blocking the event loop."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(_wait_for, process)

    async def kill_and_restart(self) -> None:
        """Kill it with SIGKILL and start it again."""
        self.stop(signal.SIGKILL)
        await self.start()


def _wait_for(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


@asynccontextmanager
async def running_engine(
    engine: PostgresEngine | NatsEngine,
) -> AsyncGenerator[None]:
    """The engine, started. *Resources*: its server, until the end of the block."""
    await engine.start()
    try:
        yield
    finally:
        await engine.stop()


def durable_postgres(folder: Path) -> PostgresEngine:
    """A PostgreSQL with its normal durability, not started."""
    return PostgresEngine(SilentLog(), data_dir=folder, progress=lambda _: None)


async def crash_and_restart(engine: PostgresEngine | NatsEngine) -> None:
    """Kill the server and start it again, which recovers as after a crash."""
    await crash(engine)
    await engine.start()


async def crash(engine: PostgresEngine | NatsEngine) -> None:
    """Kill the server; it stays down."""
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    await engine.stop()


def free_port() -> int:
    """A port that no process listens on."""
    return free_ports(1)[0]


def run_command(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the service to its end."""
    return subprocess.run(
        [MYSERVICE, *words], env=environment(**settings), check=False,
        capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip


async def create_accounts(dsn: str, owner: str, count: int, balance: int) -> list[str]:
    """Create accounts with a balance, each from an entry of the ledger; returns their ids."""
    accounts = [str(uuid.uuid4()) for _ in range(count)]
    connection = await asyncpg.connect(dsn)
    try:
        for account in accounts:
            await connection.execute(
                "INSERT INTO accounts (id, owner, balance, created_at)"
                " VALUES ($1, $2, $3, now())", account, owner, balance,
            )  # fmt: skip
            await connection.execute(
                "INSERT INTO transfers (id, to_id, amount, reference, to_balance, created_at)"
                " VALUES ($1, $2, $3, 'opening', $3, now())", uuid.uuid4(), account, balance,
            )  # fmt: skip
    finally:
        await connection.close()
    return accounts


async def fetch_rows(dsn: str, statement: str) -> Sequence[asyncpg.Record]:
    """The rows of a statement."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()
