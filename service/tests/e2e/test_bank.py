"""The bank test: random transfers while the service and PostgreSQL are killed again and again.

Afterwards the total is what it was, each transfer that was acknowledged is stored exactly once,
each of the others at most once, and ``ledger verify`` is clean. A client that got no answer, or is
told to try again, sends its request again with the same Idempotency-Key until it is answered, as a
good client does; any other failure fails the test. Rate limit and load shedding are the default
ones. Quick unless BANK_TEST=full (`make bank`): fewer clients and kills, the same checks.
"""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from processes import (
    ApiClient,
    ServiceCommand,
    crash_and_restart,
    create_accounts,
    durable_postgres,
    fetch_rows,
    free_port,
    run_command,
    running_engine,
)
from service_process import PATIENCE

from paceline.engines import PostgresEngine
from paceline.testing import make_token

FULL = os.environ.get("BANK_TEST") == "full"
CLIENTS, SERVICE_KILLS, POSTGRES_KILLS = (64, 10, 2) if FULL else (16, 2, 1)
ACCOUNTS, BALANCE = 10, 100_000
BETWEEN_KILLS = 2.0 if FULL else 1.0
CREATED, CONFLICT = 201, 409
TRY_AGAIN = {429, 503, 504}

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@dataclass
class Bank:
    """The load, and the outcomes that the clients have seen."""

    api: ApiClient
    accounts: list[str]
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    acknowledged: dict[str, str] = field(default_factory=dict[str, str])  # reference to transfer
    refused: int = 0
    retried: Counter[str] = field(default_factory=Counter[str])  # by status or error


async def client(bank: Bank, number: int) -> None:
    """Transfer at random; insist on an answer to each transfer."""
    draw = random.Random(number)  # noqa: S311 - a load, not a secret
    count = 0
    while not bank.stop.is_set():
        one, other = draw.sample(bank.accounts, 2)
        reference = f"{number}-{count}"
        body = {"from": one, "to": other, "amount": draw.randint(1, 5000), "reference": reference}
        status, answer = await transfer_until_answered(bank, body, reference)
        if status == CREATED:
            bank.acknowledged[reference] = answer["id"]
        else:
            assert answer["type"].endswith("insufficient-balance"), answer
            bank.refused += 1
        count += 1


async def transfer_until_answered(
    bank: Bank, body: Mapping[str, object], key: str
) -> tuple[int, dict[str, str]]:
    """Send until there is an answer that says what became of it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            status, answer = await bank.api.request("POST", "/api/v1/transfers", body, key)
            decided = status == CREATED or (
                status == CONFLICT and answer["type"].endswith("insufficient-balance")
            )
            if decided:
                return status, answer
            # ABORTED (409): the transaction lost against another one. UNKNOWN (500): the database
            # was lost during the commit, so only the key tells what became of it.
            again = status in TRY_AGAIN or answer.get("code") in {"ABORTED", "UNKNOWN"}
            assert again, (status, answer)
            reason = str(status)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as exc:
            reason = type(exc).__name__
        assert time.monotonic() < deadline, "no request is answered"
        bank.retried[reason] += 1
        await asyncio.sleep(0.02)


async def test_nothing_is_lost_or_doubled_however_often_we_are_killed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)  # noqa: ASYNC240 - PostgreSQL runs under its own account
    postgres = durable_postgres(tmp_path / "db")
    async with running_engine(postgres):
        dsn, port = postgres.dsn(), free_port()
        assert run_command("migrate", "up", APP_DATABASE_URL=dsn).returncode == 0
        accounts = await create_accounts(dsn, "bank", ACCOUNTS, BALANCE)
        bank = Bank(ApiClient(port, make_token("bank", "transfers:write")), accounts)
        service = ServiceCommand(
            "serve", port=port, log=tmp_path / "service.log",
            APP_DATABASE_URL=dsn, APP_PORT=str(port), APP_ADMIN_PORT="0",
        )  # fmt: skip
        await service.start()
        try:
            await run_bank(postgres, service, bank)
        finally:
            service.stop(signal.SIGTERM)
        await check_ledger(dsn, bank)
        verify = run_command("ledger", "verify", APP_DATABASE_URL=dsn)
        assert verify.returncode == 0, verify.stdout + verify.stderr
        assert "The ledger is clean." in verify.stdout


async def run_bank(postgres: PostgresEngine, service: ServiceCommand, bank: Bank) -> None:
    kills = ["service"] * SERVICE_KILLS + ["postgres"] * POSTGRES_KILLS
    random.Random(3).shuffle(kills)  # noqa: S311 - a load, not a secret
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(client(bank, number))
        for victim in kills:
            await until_more(bank)
            if victim == "service":
                await service.kill_and_restart()
            else:
                await crash_and_restart(postgres)
        await until_more(bank)
        bank.stop.set()


async def until_more(bank: Bank) -> None:
    """Wait until the load runs again, and for a while of it."""
    before, deadline = len(bank.acknowledged), time.monotonic() + PATIENCE
    while len(bank.acknowledged) < before + CLIENTS:
        assert time.monotonic() < deadline, "the service did not come back"
        await asyncio.sleep(0.05)
    await asyncio.sleep(BETWEEN_KILLS)


async def check_ledger(dsn: str, bank: Bank) -> None:
    (sums,) = await fetch_rows(dsn, "SELECT sum(balance) AS total FROM accounts")
    rows = await fetch_rows(
        dsn, "SELECT reference, id::text FROM transfers WHERE from_id IS NOT NULL"
    )
    assert sums["total"] == ACCOUNTS * BALANCE
    assert bank.acknowledged
    found = [(row["reference"], row["id"]) for row in rows]
    # Every client insisted on its answer, so what is there is what was acknowledged, once each.
    assert len(found) == len(bank.acknowledged)
    assert dict(found) == bank.acknowledged
    print(  # noqa: T201 - what `make bank` shows
        f"\n{len(found)} transfers acknowledged and there once, {bank.refused} refused,"
        f" {bank.retried.total()} requests retried ({dict(bank.retried)}), {SERVICE_KILLS} kills of the service,"
        f" {POSTGRES_KILLS} of PostgreSQL"
    )
