"""Processes that a bench starts: its servers, and the scripts that load them.

A server has none of this shell's settings of a service, and a group of its own, so that workers
that outlive their parent are ended, too. A script of ours takes a plan as JSON on stdin and prints
what it found as one JSON line. Both can be pinned to a core, where there are two.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from load import Plan, Result

HERE = Path(__file__).parent
_HOST = "127.0.0.1"
_STOP_TIMEOUT = 15.0


def spawn(
    command: Sequence[str | Path],
    settings: Mapping[str, str],
    log: IO[bytes] | int,
    *,
    core: int | None = None,
    folder: Path | None = None,
    shows_errors: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a server; ``log``: where it writes, errors too unless this terminal shows them.

    *Resources*: the process, until `end`.
    """
    foreign = {name: value for name, value in os.environ.items() if not name.startswith("APP_")}
    return subprocess.Popen(
        _pinned(command, core), env={**foreign, **settings}, stdin=subprocess.DEVNULL,
        stdout=log, stderr=None if shows_errors else log, start_new_session=True, cwd=folder,
    )  # fmt: skip


def end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End them and their children, in order first and by force after a while."""
    for process in processes:
        with suppress(ProcessLookupError):
            process.terminate()
    for process in processes:
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError):  # the group: workers that outlived their parent
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(_STOP_TIMEOUT)


def run_script(
    script: str, plan: object = None, *arguments: str, core: int | None = None
) -> dict[str, Any]:
    """What a script of ours prints, given ``plan``. Errors: CalledProcessError."""
    done = subprocess.run(
        _pinned([sys.executable, HERE / script, *arguments], core), check=True,
        stdout=subprocess.PIPE, input=json.dumps(plan).encode(),
    )  # fmt: skip
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def run_load(plan: Plan, *, core: int | None = None) -> Result:
    """The closed-loop load of ``load.py``."""
    return Result(**run_script("load.py", asdict(plan), core=core))


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _pinned(command: Sequence[str | Path], core: int | None) -> Sequence[str | Path]:
    """The command on one core; as it is where there is only one, or no ``taskset``."""
    pin = shutil.which("taskset")
    if core is None or pin is None or (os.cpu_count() or 1) == 1:
        return command
    return [pin, "--cpu-list", str(core), *command]
