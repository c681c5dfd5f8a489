"""A power cut: what was acknowledged is there afterwards, though all that was not synced is lost.

The controls show that the file system loses something: without syncs, acknowledged rows are gone.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
from engine_clients import connect_nats
from order_load import running_order_load, start_clients, verify_orders
from power import PowerSupply, power_supply
from processes import run_command

from paceline.commands import whole_file
from paceline.engines import NatsEngine, PostgresEngine
from paceline.testing import SilentLog, child_pids

FULL = os.environ.get("FAULTS_TEST") == "full"
CUTS = 5 if FULL else 1
WRITERS, ROWS, MESSAGES, ORDERS = 8, 400, 400, 150
SETTLE = 120.0

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900 if FULL else 240)]
Record = Callable[[str, object], None]


@pytest.fixture
def power(tmp_path: Path) -> Generator[PowerSupply]:
    tmp_path.chmod(0o755)  # PostgreSQL runs under its own account
    with power_supply(tmp_path) as found:
        yield found


def postgres_on(power: PowerSupply, **options: str) -> PostgresEngine:
    return PostgresEngine(
        SilentLog(), data_dir=power.folder / "db", options=options, progress=lambda _: None
    )


def nats_on(power: PowerSupply) -> NatsEngine:
    return NatsEngine(SilentLog(), data_dir=power.folder / "nats", progress=lambda _: None)


async def cut_and_restart(power: PowerSupply, *engines: PostgresEngine | NatsEngine) -> int:
    """Cut the power of the engines and start them again; how many files lost something."""
    lost = power.cut()
    for engine in engines:
        assert engine.pid is not None
        for pid in (engine.pid, *child_pids(engine.pid)):
            with suppress(ProcessLookupError):  # a server that cannot write may end by itself
                os.kill(pid, signal.SIGKILL)
    for engine in engines:
        with suppress(OSError):  # its files are out of reach
            await engine.stop()
    power.off()
    power.on()
    await asyncio.gather(*(engine.start() for engine in engines))
    return lost


def test_the_file_system_loses_what_is_not_synced_and_nothing_else(power: PowerSupply) -> None:
    synced, renamed = power.folder / "synced", power.folder / "renamed"
    with synced.open("wb", buffering=0) as file:
        file.write(b"kept ")
        os.fsync(file.fileno())
        file.write(b"lost")
        file.seek(0)
        file.write(b"LOST")
        assert synced.read_bytes() == b"LOST lost"
    (power.folder / "aside").write_bytes(b"never synced")
    (power.folder / "aside").replace(renamed)
    assert power.cut() == 2
    with pytest.raises(OSError, match="Input/output error"):
        synced.read_bytes()
    power.off()
    power.on()
    assert synced.read_bytes() == b"kept "
    assert renamed.read_bytes() == b""


async def write_rows(dsn: str, writer: int, acknowledged: list[int]) -> None:
    """Insert numbers until the connection breaks."""
    number = writer
    with suppress(
        asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError
    ):
        connection = await asyncpg.connect(dsn)
        try:
            while True:
                await connection.execute("INSERT INTO things VALUES ($1)", number)
                acknowledged.append(number)
                number += WRITERS
        finally:
            connection.terminate()


@pytest.mark.parametrize("synced", [True, False], ids=["as we run it", "without syncs"])
async def test_every_row_that_postgresql_acknowledged_is_there(
    power: PowerSupply, record_property: Record, *, synced: bool
) -> None:
    options = {} if synced else {"synchronous_commit": "off", "wal_writer_delay": "10s"}
    postgres = postgres_on(power, **options)
    await postgres.start()
    try:
        connection = await asyncpg.connect(postgres.dsn())
        await connection.execute("CREATE TABLE things (n int PRIMARY KEY)")
        await connection.execute("CHECKPOINT")
        await connection.close()
        acknowledged: list[int] = []
        for cut in range(1, CUTS + 1):
            before = len(acknowledged)
            async with asyncio.TaskGroup() as group:
                for writer in range(WRITERS):
                    start = writer + 10_000_000 * cut
                    group.create_task(write_rows(postgres.dsn(), start, acknowledged))
                while len(acknowledged) < before + ROWS:  # noqa: ASYNC110 - a list has no event
                    await asyncio.sleep(0.01)
                await cut_and_restart(power, postgres)
            connection = await asyncpg.connect(postgres.dsn())
            rows = await connection.fetch("SELECT n FROM things")
            await connection.close()
            lost = {*acknowledged} - {row["n"] for row in rows}
            assert bool(lost) != synced, f"{len(lost)} of {len(acknowledged)} are lost"
            if not synced:
                return
        record_property(
            "figure", f"{len(acknowledged)} rows acknowledged, {CUTS} power cuts, none lost"
        )
    finally:
        await postgres.stop()


async def publish_messages(url: str, acknowledged: set[int], publisher: int) -> None:
    """Publish numbers until the server is gone."""
    async with connect_nats(url) as client:
        number = publisher
        with suppress(Exception):  # the client has many errors for a server that is gone
            while True:
                await client.publish("kept.n", str(number).encode(), timeout=2.0)
                acknowledged.add(number)
                number += WRITERS


async def test_every_message_that_nats_acknowledged_is_there(
    power: PowerSupply, record_property: Record
) -> None:
    nats = nats_on(power)
    await nats.start()
    try:
        async with connect_nats(nats.url) as client:
            await client.create("KEPT", "kept.>")
        acknowledged: set[int] = set()
        for cut in range(1, CUTS + 1):
            before = len(acknowledged)
            async with asyncio.TaskGroup() as group:
                for publisher in range(WRITERS):
                    start = publisher + 10_000_000 * cut
                    group.create_task(publish_messages(nats.url, acknowledged, start))
                while len(acknowledged) < before + MESSAGES:  # noqa: ASYNC110 - a set has no event
                    await asyncio.sleep(0.01)
                await cut_and_restart(power, nats)
            async with connect_nats(nats.url) as client:
                stored = await client.numbers("KEPT")
            lost = acknowledged - stored
            assert not lost, f"{len(lost)} of {len(acknowledged)} are lost"
        record_property(
            "figure", f"{len(acknowledged)} messages acknowledged, {CUTS} power cuts, none lost"
        )
    finally:
        await nats.stop()


async def test_every_accepted_order_reaches_one_final_state(
    power: PowerSupply, tmp_path: Path, record_property: Record
) -> None:
    postgres, nats = postgres_on(power), nats_on(power)
    await asyncio.gather(postgres.start(), nats.start())
    try:
        assert run_command("migrate", "up", APP_DATABASE_URL=postgres.dsn()).returncode == 0
        async with running_order_load(tmp_path, postgres.dsn(), nats.url) as orders:
            async with asyncio.TaskGroup() as group:
                start_clients(orders, group, WRITERS, orders.numbers_until_stopped())
                for _ in range(CUTS):
                    await orders.until_more(ORDERS)
                    await cut_and_restart(power, postgres, nats)
                await orders.until_more(ORDERS)
                orders.stopped = True
            await orders.until_decided(SETTLE)
        record_property(
            "figure", f"{await verify_orders(orders)}; {CUTS} power cuts of both servers"
        )
    finally:
        await asyncio.gather(postgres.stop(), nats.stop())


def test_our_own_files_are_whole_or_what_they_were(power: PowerSupply) -> None:
    exported, nats = power.folder / "all.csv", nats_on(power)
    with whole_file(exported) as file:
        file.write(b"first")
    chosen = nats.url  # with a port and a password, which are stored
    with pytest.raises(OSError, match="Input/output error"), whole_file(exported) as file:
        file.write(b"second")
        file.flush()
        power.cut()
    power.off()
    power.on()
    assert exported.read_bytes() == b"first"
    assert nats_on(power).url == nats.url == chosen
    with whole_file(exported) as file:
        file.write(b"third")
    power.cut()
    power.off()
    power.on()
    assert exported.read_bytes() == b"third"
