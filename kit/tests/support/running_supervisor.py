"""The supervisor as a process, on the workers of ``kit/tests/tools/worker_program.py``."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from paceline.commands.prefork import SupervisorSpec
from paceline.commands.prefork.handoff import SUPERVISOR_VARIABLE

TESTS = Path(__file__).parents[1]
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

    async def ask(self, port: int | None = None) -> int:
        """The process that answers a new connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self.port)
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
    folder: Path,
    *,
    workers: int = 2,
    mood: str = "well",
    stop_timeout: float = 10.0,
    port: int = 0,
    servers: Sequence[str] = ("http",),
    host: str = "127.0.0.1",
) -> AsyncGenerator[Supervisor]:
    """A supervisor, not waited for; at the end none of its processes may be left."""
    (folder / "mood").write_text(mood)
    spec = SupervisorSpec(
        service="small", workers=workers, host=host, ports=dict.fromkeys(servers, port),
        stop_timeout=stop_timeout,
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
        try:
            async with asyncio.timeout(PATIENCE):
                while any(alive(pid) for pid in started.pids()):  # noqa: ASYNC110 - not our children
                    await asyncio.sleep(0.02)
        finally:
            for (
                pid
            ) in started.pids():  # one that is frozen does not see that its supervisor is gone
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
