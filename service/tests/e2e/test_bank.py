"""The bank test: random transfers while the service and PostgreSQL are killed again and again.

Afterwards the total is what it was, each transfer that was acknowledged is there exactly once,
each of the others at most once, and ``ledger verify`` is clean. A client that got no answer sends
its request again with the same Idempotency-Key until it is answered, as a good client does. Quick
unless BANK_TEST=full (`make bank`): fewer clients and kills, the same checks.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest
from running import MYSERVICE, PATIENCE, environment

from paceline.auth import issue_token
from paceline.clock import SystemClock
from paceline.engines import PostgresEngine

FULL = os.environ.get("BANK_TEST") == "full"
CLIENTS, SERVICE_KILLS, POSTGRES_KILLS = (64, 10, 2) if FULL else (16, 2, 1)
ACCOUNTS, BALANCE = 10, 100_000
BETWEEN_KILLS = 2.0 if FULL else 1.0
SECRET = "q8Zr5vNw2kLx7TbYc4HsUj9GdFm3PaEo"
CREATED, CONFLICT = 201, 409

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


class Silent:
    """The engine's log, which nobody reads here."""

    def info(self, event: str, /, **fields: object) -> None: ...

    def warning(self, event: str, /, **fields: object) -> None: ...


@dataclass
class Bank:
    """What the clients know: what they were told, and what they never learned."""

    port: int
    token: str
    accounts: list[str]
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    acknowledged: dict[str, str] = field(default_factory=dict[str, str])  # reference to transfer
    refused: int = 0
    sent_again: int = 0


async def client(bank: Bank, number: int) -> None:
    """Transfer at random; insist on an answer to each transfer."""
    draw = random.Random(number)  # noqa: S311 - a load, not a secret
    count = 0
    while not bank.stop.is_set():
        one, other = draw.sample(bank.accounts, 2)
        reference = f"{number}-{count}"
        body = {"from": one, "to": other, "amount": draw.randint(1, 5000), "reference": reference}
        status, answer = await insist(bank, body, reference)
        if status == CREATED:
            bank.acknowledged[reference] = answer["id"]
        else:
            assert answer["type"].endswith("insufficient-balance"), answer
            bank.refused += 1
        count += 1


async def insist(bank: Bank, body: Mapping[str, object], key: str) -> tuple[int, dict[str, str]]:
    """Send until there is an answer that says what became of it."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            status, answer = await post(bank, body, key)
            told = status == CREATED or (
                status == CONFLICT and answer["type"].endswith("insufficient-balance")
            )
            if told:
                return status, answer
            assert status in {409, 429, 500, 503, 504}, (status, answer)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass
        assert time.monotonic() < give_up, "nobody answers"
        bank.sent_again += 1
        await asyncio.sleep(0.02)


async def post(bank: Bank, body: Mapping[str, object], key: str) -> tuple[int, dict[str, str]]:
    content = json.dumps(body).encode()
    head = (
        "POST /api/v1/transfers HTTP/1.1\r\nHost: bank\r\nConnection: close\r\n"
        f"Authorization: Bearer {bank.token}\r\nContent-Type: application/json\r\n"
        f"Idempotency-Key: {key}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", bank.port)
        try:
            writer.write(head.encode() + content)
            status = int((await reader.readuntil(b"\r\n")).split()[1])
            rest = await reader.readuntil(b"\r\n\r\n")
            lines = dict(line.split(b": ", 1) for line in rest.lower().split(b"\r\n") if line)
            answer = await reader.readexactly(int(lines[b"content-length"]))
            return status, json.loads(answer)
        finally:
            writer.close()


class Service:
    """``myservice serve`` on one port, started again after each kill."""

    def __init__(self, dsn: str, port: int, log: Path) -> None:
        self._env = environment(
            APP_DATABASE_URL=dsn, APP_JWT_SECRET=SECRET, APP_PORT=str(port), APP_HOST="127.0.0.1",
            APP_RATE_LIMIT="0",
        )  # fmt: skip
        self._port = port
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._process = self._spawn()
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                assert time.monotonic() < give_up, self._log.read_text()[-2000:]
                await asyncio.sleep(0.05)
                if self._process.poll() is not None:
                    # PostgreSQL may be coming back just now: as a supervisor would, once more.
                    self._process = self._spawn()
            else:
                writer.close()
                return

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen([MYSERVICE, "serve"], env=self._env, stdout=log, stderr=log)

    def end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        return process.wait(PATIENCE)


@asynccontextmanager
async def engine(folder: Path) -> AsyncGenerator[PostgresEngine]:
    """A durable PostgreSQL, without anything turned off."""
    found = PostgresEngine(Silent(), data_dir=folder, progress=lambda _: None)
    await found.start()
    try:
        yield found
    finally:
        await found.stop()


async def kill_postgres(found: PostgresEngine) -> None:
    """Kill the postmaster and let it come back as after a crash."""
    assert found.pid is not None
    os.kill(found.pid, signal.SIGKILL)
    await found.stop()
    await found.start()


def free_port() -> int:
    import socket  # noqa: PLC0415 - only here

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(*words: str, dsn: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MYSERVICE, *words], env=environment(APP_DATABASE_URL=dsn), check=False,
        capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip


async def test_nothing_is_lost_or_doubled_however_often_we_are_killed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)  # noqa: ASYNC240 - PostgreSQL runs under its own account
    async with engine(tmp_path / "db") as postgres:
        assert command("migrate", "up", dsn=postgres.dsn()).returncode == 0
        accounts = await open_accounts(postgres.dsn())
        port = free_port()
        service = Service(postgres.dsn(), port, tmp_path / "service.log")
        await service.start()
        try:
            bank = await run_bank(postgres, service, port, accounts)
        finally:
            service.end(signal.SIGTERM)
        await check_books(postgres.dsn(), bank)
        verify = command("ledger", "verify", dsn=postgres.dsn())
        assert verify.returncode == 0, verify.stdout + verify.stderr
        assert "The ledger is clean." in verify.stdout


async def open_accounts(dsn: str) -> list[str]:
    """Accounts with something in them, each from an entry of the ledger."""
    accounts = [str(uuid.uuid4()) for _ in range(ACCOUNTS)]
    connection = await asyncpg.connect(dsn)
    try:
        for account in accounts:
            await connection.execute(
                "INSERT INTO accounts (id, owner, balance, created_at)"
                " VALUES ($1, 'bank', $2, now())", account, BALANCE,
            )  # fmt: skip
            await connection.execute(
                "INSERT INTO transfers (id, to_id, amount, reference, to_balance, created_at)"
                " VALUES ($1, $2, $3, 'opening', $3, now())", uuid.uuid4(), account, BALANCE,
            )  # fmt: skip
    finally:
        await connection.close()
    return accounts


async def run_bank(
    postgres: PostgresEngine, service: Service, port: int, accounts: list[str]
) -> Bank:
    token = issue_token(
        SECRET.encode(), subject="bank", scopes=["transfers:write"], expiry=3600,
        clock=SystemClock(),
    )  # fmt: skip
    bank = Bank(port, token, accounts)
    kills = ["service"] * SERVICE_KILLS + ["postgres"] * POSTGRES_KILLS
    random.Random(3).shuffle(kills)  # noqa: S311 - a load, not a secret
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(client(bank, number))
        for victim in kills:
            await until_more(bank)
            if victim == "service":
                service.end(signal.SIGKILL)
                await service.start()
            else:
                await kill_postgres(postgres)
        await until_more(bank)
        bank.stop.set()
    return bank


async def until_more(bank: Bank) -> None:
    """Wait until the load runs again, and for a while of it."""
    before, give_up = len(bank.acknowledged), time.monotonic() + PATIENCE
    while len(bank.acknowledged) < before + CLIENTS:
        assert time.monotonic() < give_up, "the service did not come back"
        await asyncio.sleep(0.05)
    await asyncio.sleep(BETWEEN_KILLS)


async def check_books(dsn: str, bank: Bank) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        total = await connection.fetchval("SELECT sum(balance) FROM accounts")
        rows = await connection.fetch(
            "SELECT reference, id::text FROM transfers WHERE from_id IS NOT NULL"
        )
    finally:
        await connection.close()
    assert total == ACCOUNTS * BALANCE
    found = [(row["reference"], row["id"]) for row in rows]
    # Every client insisted on its answer, so what is there is what was acknowledged, once each.
    assert len(found) == len(bank.acknowledged)
    assert dict(found) == bank.acknowledged
    print(  # noqa: T201 - what `make bank` shows
        f"\n{len(found)} transfers acknowledged and there once, {bank.refused} refused,"
        f" {bank.sent_again} requests sent again, {SERVICE_KILLS} kills of the service,"
        f" {POSTGRES_KILLS} of PostgreSQL"
    )
