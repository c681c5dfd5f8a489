"""A full disk under PostgreSQL, under NATS, and under the files that our commands write.

The disk is a small file system in memory with a ballast file in it, whose removal is the operator who
makes room. What is asked for meanwhile fails with a clear error; nothing acknowledged is lost.
"""

import asyncio
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest
from order_load import READY, UNREADY, running_order_load, start_clients, verify_orders
from processes import ApiClient, ServiceCommand, fetch_rows, free_port, run_command, running_engine
from service_process import MYSERVICE, environment

from myservice.scopes import SCOPES
from paceline.engines import EngineError, NatsEngine, PostgresEngine
from paceline.testing import SilentLog, make_token

MEBIBYTE = 1 << 20
SIZE = 224
PATIENCE = 60.0
UNKNOWN = 0

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
Record = Callable[[str, object], None]


class Disk:
    """A small disk at ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    @property
    def free(self) -> int:
        """In bytes, for an ordinary account."""
        status = os.statvfs(self.folder)
        return status.f_bavail * status.f_frsize

    def fill(self, *, leaving: int = 0) -> None:
        """Take all room but ``leaving`` bytes."""
        with self._ballast.open("ab") as file, suppress(OSError):
            while (room := self.free - leaving) > 0:
                file.write(b"x" * min(room, MEBIBYTE))
                file.flush()

    def make_room(self) -> None:
        """Remove what `fill` has put there."""
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Generator[Disk]:
    """A disk of 224 MiB. *Resources*: a mount, until the end of the test."""
    if os.geteuid():
        pytest.skip("needs root, to mount a small disk")
    tmp_path.chmod(0o755)  # PostgreSQL runs under its own account
    folder = tmp_path / "disk"
    folder.mkdir(mode=0o755)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=%dm,mode=755" % SIZE):
        pytest.skip(f"cannot mount a small disk: {os.strerror(ctypes.get_errno())}")
    yield Disk(folder)
    libc.umount2(os.fsencode(folder), 2)


async def restarted(postgres: PostgresEngine) -> None:
    """As a supervisor does, if the server has ended itself."""
    try:
        async with asyncio.timeout(1):
            await postgres.wait()
    except TimeoutError:
        return  # it goes on
    except EngineError:
        await postgres.stop()
        await postgres.start()


async def test_writes_are_refused_while_postgresqls_disk_is_full_and_none_is_lost(
    disk: Disk, tmp_path: Path, record_property: Record
) -> None:
    options = {"max_wal_size": "64MB", "min_wal_size": "32MB", "shared_buffers": "16MB"}
    postgres = PostgresEngine(
        SilentLog(), data_dir=disk.folder / "db", options=options, progress=lambda _: None
    )
    async with running_engine(postgres):
        dsn, port = postgres.dsn(), free_port()
        assert run_command("migrate", "up", APP_DATABASE_URL=dsn).returncode == 0
        log = tmp_path / "serve.log"
        service = ServiceCommand(
            "serve", port=port, log=log, APP_DATABASE_URL=dsn, APP_PORT=str(port),
            APP_RATE_LIMIT="0", APP_ADMIN_PORT="0",
        )  # fmt: skip
        await service.start()
        client = ApiClient(port, make_token("ada", *SCOPES))
        stored: list[str] = []
        try:
            assert await create(client, stored) == 201
            disk.fill(leaving=24 * MEBIBYTE)
            statuses = [await create(client, stored) for _ in range(600)]
            refused = [status for status in statuses if status != 201]
            assert refused, "the disk did not get full"
            # PostgreSQL ends itself in the middle of a write: its outcome is unknown.
            assert {*refused} <= {503, 504, UNKNOWN}
            assert "No space left on device" in log.read_text()
            disk.make_room()
            began = monotonic()
            await restarted(postgres)
            while await create(client, stored) != 201:
                assert monotonic() < began + PATIENCE
                await asyncio.sleep(0.1)
            recovered = monotonic() - began
        finally:
            assert service.stop(signal.SIGTERM) == 0
        rows = await fetch_rows(dsn, "SELECT id::text FROM records")
        assert {*stored} <= {row["id"] for row in rows}
    record_property(
        "figure",
        f"{len(stored)} acknowledged, {len(refused)} refused with {sorted({*refused})},"
        f" writes again after {recovered:.1f} s",
    )


async def create(client: ApiClient, stored: list[str]) -> int:
    """Create a large record; `UNKNOWN` when the answer says so, 503 when the connection breaks."""
    body = {"name": "large", "data": {"text": os.urandom(30_000).hex()}}
    try:
        status, answer = await client.request("POST", "/api/v1/records", body)
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        return 503
    if status == 201:
        stored.append(answer["id"])
    return UNKNOWN if answer.get("type") == "urn:problem:outcome-unknown" else status


async def test_orders_wait_while_the_disk_of_nats_is_full_and_none_is_lost(
    disk: Disk, migrated: str, tmp_path: Path, record_property: Record
) -> None:
    nats = NatsEngine(SilentLog(), data_dir=disk.folder / "nats", progress=lambda _: None)
    async with running_engine(nats):
        async with running_order_load(tmp_path, migrated, nats.url) as orders:
            async with asyncio.TaskGroup() as group:
                start_clients(orders, group, 4, orders.numbers_until_stopped())
                await orders.until_more(50)
                disk.fill()
                # Orders are accepted as before: they wait in the outbox.
                await orders.until_more(300)
                waiting = await fetch_rows(orders.dsn, "SELECT count(*) AS n FROM outbox")
                await orders.until_ready_is(UNREADY, *orders.workers)
                await orders.until_ready_is(READY, *orders.servers)
                disk.make_room()
                # It has turned JetStream off, and says that it needs a restart.
                await nats.stop()
                await nats.start()
                await orders.until_more(50)
                orders.stopped = True
            await orders.until_decided(PATIENCE)
            await orders.until_ready_is(READY, *orders.servers, *orders.workers)
        counts = await verify_orders(orders)
    assert waiting[0]["n"] > 0, "the disk was not full"
    record_property("figure", f"{counts}; {waiting[0]['n']} waited in the outbox")


def command(*words: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MYSERVICE, *words], env=environment(**settings), capture_output=True, text=True,
        check=False, timeout=PATIENCE,
    )  # fmt: skip


def test_an_export_to_a_full_disk_fails_in_a_sentence_and_leaves_what_was_there(
    disk: Disk, migrated: str, tmp_path: Path
) -> None:
    lines = tmp_path / "all.ndjson"
    lines.write_text("".join(f'{{"name": "record {n}"}}\n' for n in range(2_000)))
    assert command("records", "import", lines, APP_DATABASE_URL=migrated).returncode == 0
    exported = disk.folder / "all.csv"
    exported.write_text("of yesterday\n")
    disk.fill()
    done = command("records", "export", exported, APP_DATABASE_URL=migrated)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert str(exported) in done.stderr
    assert "Traceback" not in done.stderr
    assert exported.read_text() == "of yesterday\n"
    assert sorted(each.name for each in disk.folder.iterdir()) == ["all.csv", "ballast"]
    disk.make_room()
    assert command("records", "export", exported, APP_DATABASE_URL=migrated).returncode == 0
    assert exported.read_text().count("\n") == 2_001


def test_an_import_whose_rejects_do_not_fit_stops_in_a_sentence_and_goes_on_later(
    disk: Disk, migrated: str, tmp_path: Path
) -> None:
    lines = disk.folder / "all.ndjson"
    bad = "{oops" + "x" * 2_000
    lines.write_text("".join(f'{{"name": "record {n}"}}\n{bad}\n' for n in range(2_000)))
    disk.fill()
    done = command("records", "import", lines, APP_DATABASE_URL=migrated)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    disk.make_room()
    again = command("records", "import", lines, APP_DATABASE_URL=migrated)
    assert "2,000 records, 2,000 rejected" in again.stderr
    rejects = lines.with_name("all.ndjson.rejects").read_text()
    assert rejects.count("\n") == 2_000


def test_a_start_on_a_full_disk_says_so(disk: Disk) -> None:
    disk.fill()
    done = command("run", "--data-dir", disk.folder / "data", "--port", "0")
    assert done.returncode != 0
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
