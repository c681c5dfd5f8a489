"""A child process: started, watched, stopped, and ended together with its parent."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from engine_support import is_gone

from paceline.engines import EngineError
from paceline.engines.account import Account
from paceline.engines.child_process import ChildProcess, spawn


def start(
    script: str, folder: Path, *, account: Account | None = None, death: int = signal.SIGKILL
) -> tuple[ChildProcess, Path]:
    output = folder / "output"
    with output.open("wb") as stream:
        child = spawn(
            ["/bin/sh", "-c", script],
            output=stream,
            account=account,
            death_signal=signal.Signals(death),
            environment={"PATH": "/usr/bin:/bin"},
        )
    return child, output


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        met = condition()
        while not met:
            await asyncio.sleep(0.005)
            met = condition()


async def test_every_waiting_task_gets_the_exit_status(tmp_path: Path) -> None:
    child, _ = start("exit 7", tmp_path)
    assert list(await asyncio.gather(child.wait(), child.wait())) == [7, 7]
    assert await child.wait() == child.find_status() == 7


async def test_a_child_has_an_environment_of_its_own_and_default_signals(tmp_path: Path) -> None:
    os.environ["PGDATA"] = "/elsewhere"
    try:
        child, output = start("echo $PGDATA; umask; grep SigIgn /proc/$$/status; pwd", tmp_path)
        assert await child.wait() == 0
    finally:
        del os.environ["PGDATA"]
    data, umask, ignored, folder = output.read_text().splitlines()
    assert data == ""
    assert umask == "0077"
    # Signals 32 and 33 are the C library's own, and nobody can reset them.
    assert int(ignored.split()[1], 16) & ~(0b11 << 31) == 0
    assert folder == "/"


async def test_a_child_has_a_session_of_its_own(tmp_path: Path) -> None:
    child, output = start("echo; exec sleep 60", tmp_path)
    await until(lambda: output.stat().st_size > 0)
    assert os.getsid(child.pid) == child.pid
    assert await child.stop([(signal.SIGINT, 10.0)]) == signal.SIGINT


@pytest.mark.skipif(os.geteuid() != 0, reason="only root lends an account")
async def test_a_child_has_the_account_and_no_further_groups(tmp_path: Path) -> None:
    child, output = start("id -u; id -G", tmp_path, account=Account("nobody", 65534, 65533))
    assert await child.wait() == 0
    assert output.read_text().splitlines() == ["65534", "65533"]


@dataclass(frozen=True)
class Stop:
    id: str
    script: str
    sent: signal.Signals | None


@pytest.mark.parametrize(
    "case",
    [
        Stop("it obeys", "echo; exec sleep 60", signal.SIGINT),
        Stop("it needs the next", 'trap "" INT; echo; exec sleep 60', signal.SIGQUIT),
        Stop("it obeys nothing", 'trap "" INT QUIT; echo; exec sleep 60', signal.SIGKILL),
        Stop("it had ended", "echo", None),
    ],
    ids=lambda case: case.id,
)
async def test_a_stop_sends_its_signals_in_turn(case: Stop, tmp_path: Path) -> None:
    child, output = start(case.script, tmp_path)
    await until(lambda: output.stat().st_size > 0)
    if case.sent is None:
        await child.wait()
    assert await child.stop([(signal.SIGINT, 0.2), (signal.SIGQUIT, 0.2)]) == case.sent
    assert child.find_status() is not None


async def test_a_cancelled_stop_ends_the_child_at_once(tmp_path: Path) -> None:
    child, output = start('trap "" INT; echo; exec sleep 60', tmp_path)
    await until(lambda: output.stat().st_size > 0)
    stopping = asyncio.create_task(child.stop([(signal.SIGINT, 60.0), (signal.SIGQUIT, 60.0)]))
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert child.find_status() == -signal.SIGQUIT


async def test_only_the_main_thread_may_start_a_child(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="main thread"):
        await asyncio.to_thread(start, "exit 0", tmp_path)


PARENT = """
import os, signal, sys
from paceline.engines.child_process import spawn
from paceline.engines.account import Account
account = Account("nobody", 65534, 65534) if os.geteuid() == 0 else None
with open(sys.argv[1] + "/output", "wb") as output:
    child = spawn(
        ["/bin/sh", "-c", "echo $$; exec sleep 60"],
        output=output, account=account,
        death_signal=signal.SIGINT, environment={"PATH": "/usr/bin:/bin"},
    )
signal.pause()
"""


def start_parent(folder: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PARENT, folder])


@pytest.mark.skipif(sys.platform != "linux", reason="needs the kernel's parent death signal")
async def test_a_child_ends_with_its_killed_parent() -> None:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        parent = start_parent(folder)
        try:
            await until(lambda: output.is_file() and output.read_text().endswith("\n"))
            pid = int(output.read_text())
            os.kill(pid, 0)
        finally:
            parent.kill()
            parent.wait()
        await until(lambda: is_gone(pid))
