"""``serve --workers 2`` under load: reloads fail no request, a kill only those in progress.

Clients keep connections or open new ones, over HTTP and gRPC, and none ever tries again
(``steady_load``): a SIGHUP may not cost one request, a killed worker only what it had in hand. What was
acknowledged is there afterwards. Quick unless ROLLING_TEST=full (`make rolling`).
"""

import asyncio
import json
import os
import signal
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from processes import ServiceCommand, fetch_rows, free_port
from steady_load import OK, SteadyLoad, steady_load

from paceline.testing import child_pids

FULL = os.environ.get("ROLLING_TEST") == "full"
RELOADS, KILLS, CLIENTS = (10, 5, 8) if FULL else (2, 1, 3)
SOME = 10  # answers for each kind of client between two events
WORKERS = 2

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600 if FULL else 180)]


class Supervised(ServiceCommand):
    """``serve`` with several workers, and what it logged."""

    def __init__(self, folder: Path, dsn: str, *words: str, **settings: str) -> None:
        self.log = folder / "serve.log"
        port = free_port()
        super().__init__(
            "serve", *words, port=port, log=self.log, APP_PORT=str(port), APP_DATABASE_URL=dsn,
            APP_WORKERS=str(WORKERS), APP_GRPC_CONNECTION_AGE="1s",
            grpc_port=free_port(), **{"APP_ADMIN_PORT": "0", **settings},
        )  # fmt: skip

    def said(self, message: str) -> list[dict[str, object]]:
        whole, _, _ = self.log.read_text().rpartition("\n")
        wanted = f'"msg":"{message}"'
        return [json.loads(line) for line in whole.splitlines() if wanted in line]

    async def until_said(self, message: str, times: int = 1) -> None:
        async with asyncio.timeout(60):
            while len(self.said(message)) < times:  # noqa: ASYNC110 - another process's log
                await asyncio.sleep(0.05)


@asynccontextmanager
async def serving(
    folder: Path, dsn: str, *words: str, **settings: str
) -> AsyncGenerator[Supervised]:
    """It, ready; at the end it must stop cleanly and leave no process."""
    command = Supervised(folder, dsn, *words, **settings)
    await command.start()
    try:
        await command.until_said("ready", WORKERS + 1)
        yield command
    finally:
        workers = child_pids(command.pid)
        code = await command.terminate()
    assert code == 0
    assert not [pid for pid in workers if is_there(pid)]


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def weight_of(pid: int) -> tuple[int, int]:
    """Open files, and resident memory in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    memory = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return len(list(Path(f"/proc/{pid}/fd").iterdir())), int(memory.split()[1])


async def test_reloads_under_load_cost_no_request(migrated: str, tmp_path: Path) -> None:
    async with serving(tmp_path, migrated) as command:
        load = SteadyLoad(lambda: command.port, command.grpc_port)
        async with steady_load(load, clients=CLIENTS):
            files, memory = weight_of(command.pid)
            first = {*child_pids(command.pid)}
            for number in range(1, RELOADS + 1):
                await load.until_more(SOME)
                command.send_signal(signal.SIGHUP)
                await command.until_said("reloaded", number)
            await load.until_more(SOME)
            later_files, later_memory = weight_of(command.pid)
        assert load.failures == []
        assert not first & {*child_pids(command.pid)}
        assert len(child_pids(command.pid)) == WORKERS
        assert later_files == files
        assert later_memory < memory + 4096
    rows = await fetch_rows(migrated, "SELECT id::text FROM records")
    assert {row["id"] for row in rows} == {*load.created}
    served = sum(load.answered.values())
    print(f"\n{served} answers, none failed, over {RELOADS} reloads; slowest {load.slowest:.2f} s")  # noqa: T201 - a figure


def failures_by_kind(load: SteadyLoad) -> Counter[str]:
    return Counter(failure.partition(":")[0] for failure in load.failures)


async def test_a_killed_worker_costs_only_what_it_had_in_hand(
    migrated: str, tmp_path: Path
) -> None:
    async with serving(tmp_path, migrated) as command:
        load = SteadyLoad(lambda: command.port, command.grpc_port, waits_for_ready=True)
        async with steady_load(load, clients=CLIENTS):
            for number in range(1, KILLS + 1):
                await load.until_more(SOME)
                before = failures_by_kind(load)
                os.kill(child_pids(command.pid)[0], signal.SIGKILL)
                await command.until_said("worker died", number)
                # Whoever was connected to it learns so at its next request.
                await command.until_said("worker ready", WORKERS + number)
                await load.until_more(SOME)
                lost = failures_by_kind(load) - before
                assert max(lost.values(), default=0) <= CLIENTS, lost  # what each had in hand
                settled = len(load.failures)
                await load.until_more(SOME)
                assert len(load.failures) == settled
    rows = await fetch_rows(migrated, "SELECT id::text FROM records")
    assert {row["id"] for row in rows} >= {*load.created}
    print(f"\n{KILLS} kills cost {len(load.failures)} of {sum(load.answered.values())} requests")  # noqa: T201 - a figure


async def test_a_wrong_configuration_is_refused_by_a_reload_and_the_old_one_serves_on(
    migrated: str, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text('max_body = "1MiB"\n')
    async with serving(tmp_path, migrated, "--config", str(settings)) as command:
        settings.write_text('max_body = "much"\n')
        command.send_signal(signal.SIGHUP)
        await command.until_said("reload failed: the old workers go on")
        assert command.said("worker did not get ready")[0]["status"] == 2


@dataclass
class Operator:
    """A client of the admin port."""

    port: int
    token: str

    async def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        body: object = None,
        token: str | None = None,
        **headers: str,
    ) -> tuple[int, str]:
        """The status and what was said."""
        return await asyncio.to_thread(self._ask, path, method, body, token or self.token, headers)

    def _ask(
        self, path: str, method: str, body: object, token: str, headers: dict[str, str]
    ) -> tuple[int, str]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/json",
                **headers,
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()


async def test_one_admin_port_speaks_for_all_workers(migrated: str, tmp_path: Path) -> None:
    operator = Operator(free_port(), "Yv3nQm8sTk5wRz7xJd2cLp9hBf6gAe4u")
    settings = {"APP_ADMIN_PORT": str(operator.port), "APP_ADMIN_TOKEN": operator.token}
    async with serving(tmp_path, migrated, **settings) as command:
        status, metrics = await operator.ask("/metrics")
        assert status == OK
        for worker in range(1, WORKERS + 1):
            assert f'paceline_pool_connections{{worker="{worker}"' in metrics
        assert metrics.count("# TYPE paceline_pool_connections ") == 1
        assert (await operator.ask("/metrics", token="wrong"))[0] == 401
        assert command.port != operator.port
        status, ready = await operator.ask("/ready", token="none")
        assert (status, set(json.loads(ready)["workers"])) == (OK, {"1", "2"})
        _, state = await operator.ask("/debug/state")
        pids = [each["pid"] for each in json.loads(state)["workers"]]
        assert set(pids) == set(child_pids(command.pid))
        _, overview = await operator.ask("/")
        assert [each["pid"] for each in json.loads(overview)["workers"]] == pids
        assert json.loads(overview)["limits"]["max_in_flight"] > 0
        for path in ("/", "/debug/tasks", "/debug/profile", "/log/level"):
            for token, wanted in ((operator.token, OK), ("wrong", 401)):
                status, page = await operator.ask(path, token=token, Accept="text/html")
                assert (status, page[:15]) == (wanted, "<!doctype html>")
        _, second = await operator.ask("/debug/state?worker=2")
        assert json.loads(second)["pid"] == pids[1]
        assert (await operator.ask("/debug/tasks"))[0] == 400
        assert (await operator.ask("/debug/tasks?worker=3"))[0] == 400
        assert (await operator.ask("/debug/tasks?worker=1"))[0] == OK
        level = {"level": "warning"}
        assert (await operator.ask("/log/level", method="PUT", body=level))[0] == OK
        for worker in (1, 2):
            _, current = await operator.ask(f"/log/level?worker={worker}")
            assert json.loads(current) == level
        assert (await operator.ask("/log/level", method="PUT", body={"level": "loud"}))[0] == 422
        foreign = await operator.ask("/log/level", method="PUT", body=level, Origin="http://b.c")
        assert foreign[0] == 403
        os.kill(pids[0], signal.SIGSTOP)  # it does not answer; the other one does
        try:
            status, ready = await operator.ask("/ready")
            assert (status, set(json.loads(ready)["workers"])) == (OK, {"2"})
        finally:
            os.kill(pids[0], signal.SIGCONT)
