"""The supervisor as a process, with real workers that crash, hang, and will not stop."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from paceline.commands.prefork import SupervisorSpec
from paceline.commands.prefork.handoff import SUPERVISOR_VARIABLE

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

TESTS = Path(__file__).parents[2]
PATIENCE = 20.0


@dataclass
class Supervisor:
    """``python -m paceline.commands.prefork`` on the test's worker program."""

    process: asyncio.subprocess.Process
    folder: Path

    def lines(self, message: str = "") -> list[dict[str, object]]:
        """What it logged, or what of it has this message."""
        whole, _, _ = (self.folder / "log").read_text().rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line for line in lines if not message or line["msg"] == message]

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():
                assert self.process.returncode is None, self.lines()
                await asyncio.sleep(0.02)

    async def until_said(self, message: str, times: int = 1) -> None:
        await self.until(lambda: len(self.lines(message)) >= times)

    @property
    def port(self) -> int:
        return int(str(self.lines("ready")[0]["url"]).rpartition(":")[2])

    def pids(self) -> list[int]:
        """Every worker that was ready, in turn."""
        return [int(str(line["pid"])) for line in self.lines("worker ready")]

    def children(self) -> list[int]:
        """Its processes now."""
        pid = self.process.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def mood(self, mood: str) -> None:
        (self.folder / "mood").write_text(mood)

    async def ask(self) -> int:
        """The process that answers a new connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            return await ask_on(reader, writer)
        finally:
            writer.close()


async def ask_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """The process that answers on a connection."""
    writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(await reader.readexactly(length))


def alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@asynccontextmanager
async def supervisor(
    folder: Path, *, workers: int = 2, mood: str = "well", stop_timeout: float = 10.0, port: int = 0
) -> AsyncGenerator[Supervisor]:
    """A supervisor, not waited for; at the end none of its processes may be left."""
    (folder / "mood").write_text(mood)
    spec = SupervisorSpec(
        service="small", workers=workers, host="127.0.0.1", port=port, reserved_port=0, stop_timeout=stop_timeout,
        log_format="json",
    )  # fmt: skip
    command = [sys.executable, str(TESTS / "tools/worker_program.py"), str(folder)]
    with (folder / "log").open("wb") as log, (folder / "stderr").open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "paceline.commands.prefork", *command,
            env={SUPERVISOR_VARIABLE: msgspec.json.encode(spec).decode(), "PYTHONPATH": str(TESTS / "support")},
            stdout=log, stderr=errors,
        )  # fmt: skip
    started = Supervisor(process, folder)
    try:
        yield started
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        async with asyncio.timeout(PATIENCE):
            while any(alive(pid) for pid in started.pids()):  # noqa: ASYNC110 - not our children
                await asyncio.sleep(0.02)


async def test_workers_answer_on_one_port_and_a_signal_ends_all_cleanly(tmp_path: Path) -> None:
    async with supervisor(tmp_path) as running:
        await running.until_said("ready")
        assert await running.ask() in running.pids()
        running.process.send_signal(signal.SIGTERM)
        assert await running.process.wait() == 0
    assert len(running.pids()) == 2


async def test_a_reload_replaces_every_worker_and_a_kept_connection_is_answered(
    tmp_path: Path,
) -> None:
    async with supervisor(tmp_path) as running:
        await running.until_said("ready")
        before = set(running.pids())
        kept = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(8)]
        assert {await ask_on(*each) for each in kept} <= before
        running.process.send_signal(signal.SIGHUP)
        await running.until_said("worker ready", times=3)
        first = running.lines("worker ready")[0]["pid"]
        for each in kept:  # one worker is retiring: each of its clients gets its response
            await ask_on(*each)
        for _, writer in kept:
            writer.close()
        await running.until_said("reloaded")
        assert not alive(int(str(first)))
        assert await running.ask() not in before


async def test_a_reload_into_a_crash_or_a_hang_leaves_the_old_workers(tmp_path: Path) -> None:
    async with supervisor(tmp_path) as running:
        await running.until_said("ready")
        running.mood("crash")
        running.process.send_signal(signal.SIGHUP)
        await running.until_said("reload failed: the old workers go on")
        assert running.lines("worker did not get ready")[0]["status"] == 7
        assert await running.ask() in running.pids()
        assert all(alive(pid) for pid in running.pids())


async def test_workers_that_crash_at_the_first_start_fail_the_whole(tmp_path: Path) -> None:
    async with supervisor(tmp_path, mood="crash") as running:
        async with asyncio.timeout(PATIENCE):
            assert await running.process.wait() == 1
        assert running.lines("could not start")


async def test_a_worker_that_is_killed_is_replaced_while_the_other_serves(tmp_path: Path) -> None:
    async with supervisor(tmp_path) as running:
        await running.until_said("ready")
        victim, other = running.pids()
        os.kill(victim, signal.SIGKILL)
        assert await running.ask() == other
        await running.until_said("worker ready", times=3)
        assert running.lines("worker died")[0]["status"] == -signal.SIGKILL


async def test_workers_whose_supervisor_is_killed_stop(tmp_path: Path) -> None:
    async with supervisor(tmp_path) as running:
        await running.until_said("ready")
        running.process.kill()
        await running.process.wait()
    assert len(running.pids()) == 2  # and the context has seen both end


async def test_a_signal_while_workers_hang_at_their_start_ends_all(tmp_path: Path) -> None:
    async with supervisor(tmp_path, mood="hang") as running:
        await running.until(lambda: len(running.children()) == 2)
        pids = running.children()
        running.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            await running.process.wait()
        assert not any(alive(pid) for pid in pids)


async def test_a_worker_that_does_not_stop_is_killed_and_the_exit_code_shows_it(
    tmp_path: Path,
) -> None:
    async with supervisor(tmp_path, mood="deaf", stop_timeout=0.3) as running:
        await running.until_said("ready")
        running.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            assert await running.process.wait() == 3
        assert len(running.lines("worker did not stop and is killed")) == 2


async def test_a_second_signal_forces(tmp_path: Path) -> None:
    async with supervisor(tmp_path, mood="deaf", stop_timeout=60) as running:
        await running.until_said("ready")
        running.process.send_signal(signal.SIGTERM)
        await running.until_said("stopping")
        running.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            assert await running.process.wait() == 128 + signal.SIGTERM


async def test_a_port_in_use_is_reported_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with supervisor(tmp_path, port=taken.getsockname()[1]) as running:
            assert await running.process.wait() == 1
            assert "is in use" in str(running.lines("could not start"))
            said = (tmp_path / "stderr").read_text()
            assert said.startswith("small could not start: port ")
            assert "is in use" in said
