"""Real processes that get real signals: the exit code tells how each ended."""

import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import pytest

PROGRAM = """
import asyncio, sys
from paceline.lifecycle import Lifecycle

class Log:
    def info(self, event, /, **fields): print(event, flush=True)
    error = info

class Service:
    name = "work"
    async def start(self):
        if sys.argv[1] == "fails":
            raise OSError("no")
    async def stop(self):
        print("in stop", flush=True)
        if sys.argv[1] == "slow":
            await asyncio.Event().wait()
        print("out of stop", flush=True)

async def main():
    lifecycle = Lifecycle([Service()], Log(), shutdown_timeout=float(sys.argv[2]))
    return await lifecycle.run(lambda: print("ready", flush=True))

sys.exit(asyncio.run(main()))
"""


@dataclass(frozen=True)
class Ending:
    id: str
    service: str
    shutdown_timeout: str
    signals: tuple[tuple[str, signal.Signals], ...]
    """Send the signal when this line was read."""
    code: int
    last_line: str


ENDINGS = [
    Ending("SIGTERM", "well", "5", (("ready", signal.SIGTERM),), 0, "out of stop"),
    Ending("SIGINT", "well", "5", (("ready", signal.SIGINT),), 0, "out of stop"),
    Ending("no start", "fails", "5", (), 1, "could not start"),
    Ending("overrun", "slow", "0.1", (("ready", signal.SIGTERM),), 3, "could not stop cleanly"),
    Ending(
        "forced by SIGTERM",
        "slow",
        "60",
        (("ready", signal.SIGTERM), ("in stop", signal.SIGTERM)),
        143,
        "service was forced to stop",
    ),
    Ending(
        "forced by SIGINT",
        "slow",
        "60",
        (("ready", signal.SIGINT), ("in stop", signal.SIGINT)),
        130,
        "service was forced to stop",
    ),
]


@pytest.mark.parametrize("case", ENDINGS, ids=lambda case: case.id)
def test_the_exit_code_of_a_process_tells_how_it_ended(case: Ending) -> None:
    command = [
        *(sys.executable, "-c", textwrap.dedent(PROGRAM)),
        *(case.service, case.shutdown_timeout),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        signals = list(case.signals)
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line.strip())
            if signals and lines[-1] == signals[0][0]:
                process.send_signal(signals.pop(0)[1])
    assert process.returncode == case.code
    assert lines[-1] == case.last_line
