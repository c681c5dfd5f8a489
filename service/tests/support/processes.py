"""Real processes that a test may kill: engines and commands of the service on fixed addresses.

Everything is started again on the same address after each kill, as a supervisor would, and ended by
its pid. `Api.request` is one HTTP request on a connection of its own, so that a kill costs one
request only; `frozen` stops an engine without ending it. Used by the tests that count afterwards:
``test_bank`` and, by way of ``shopping``, those of orders.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from service_process import MYSERVICE, PATIENCE, environment

from paceline.engines import NatsEngine, PostgresEngine
from paceline.testing import TEST_SECRET, SilentLog


@dataclass(frozen=True)
class Api:
    """Where a client sends its requests, and its token."""

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


class Command:
    """A command of the service that stays, started again after each kill.

    ``port``: where it listens when it is up, ``grpc_port`` also; ``words``: what to run.
    """

    def __init__(
        self, *words: str, port: int, log: Path, grpc_port: int = 0, **settings: str
    ) -> None:
        self.port = port
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
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                assert time.monotonic() < give_up, self._log.read_text()[-2000:]
                await asyncio.sleep(0.05)
                if self._process.poll() is not None:
                    # An engine may be coming back just now: as a supervisor would, once more.
                    self._process = self._spawn()
            else:
                writer.close()
                return

    @property
    def pid(self) -> int:
        """Its process. Errors: ValueError when it does not run."""
        if self._process is None:
            raise ValueError("it does not run")
        return self._process.pid

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal after which it goes on."""
        os.kill(self.pid, number)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [MYSERVICE, *self._words], env=self._env, stdout=log, stderr=log
            )

    def end(self, number: signal.Signals) -> int:
        """Send it the signal and give its exit code; 0 when it does not run."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        return _wait_for(process)

    async def leave(self) -> int:
        """As `end` with SIGTERM; others go on meanwhile."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(_wait_for, process)

    async def kill(self) -> None:
        """Kill it and start it again."""
        self.end(signal.SIGKILL)
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
    """The engine, started. *Resources*: its server, until the block ends."""
    await engine.start()
    try:
        yield
    finally:
        await engine.stop()


def durable_postgres(folder: Path) -> PostgresEngine:
    """A PostgreSQL without anything turned off, not started."""
    return PostgresEngine(SilentLog(), data_dir=folder, progress=lambda _: None)


async def kill_engine(engine: PostgresEngine | NatsEngine) -> None:
    """Kill the server and let it come back as after a crash."""
    await kill_for_good(engine)
    await engine.start()


async def kill_for_good(engine: PostgresEngine | NatsEngine) -> None:
    """Kill the server; it stays away."""
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    await engine.stop()


@contextmanager
def frozen(engine: PostgresEngine | NatsEngine) -> Generator[None]:
    """All of the server's processes stopped for this block: nothing is closed, nobody answers."""
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)  # first, so that it makes no child any more
    pids = [engine.pid, *children_of(engine.pid)]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


def children_of(parent: int) -> list[int]:
    """The processes that ``parent`` has started and that are there yet."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # gone meanwhile
                # Behind the name, which may hold anything but ends with the last bracket.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent:
                    found.append(int(entry.name))
    return found


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_command(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the service to its end."""
    return subprocess.run(
        [MYSERVICE, *words], env=environment(**settings), check=False,
        capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip


async def open_accounts(dsn: str, owner: str, count: int, balance: int) -> list[str]:
    """Accounts with something in them, each from an entry of the ledger."""
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


async def rows_of(dsn: str, statement: str) -> Sequence[asyncpg.Record]:
    """What a statement gives."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()
