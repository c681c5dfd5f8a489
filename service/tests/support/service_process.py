"""``myservice run`` as a process, started by its real command line.

`running_service` starts it on a free port, waits until it is ready, and ends it by its pid, with
SIGKILL if it does not stop.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MYSERVICE = Path(sys.executable).with_name("myservice")
PATIENCE = 60.0
PRINTED = {
    "url": r"\nAPI +(https?://[^\s,]+)",
    "grpc": r"gRPC at (\S+:\d+)",  # paceline: only grpc
    "admin": r"\nAdmin +(https?://\S+)",
    "token": r"\nDocs +\S+#token=(\S+)",
}
"""What its banner tells, by attribute of `ServiceProcess`."""


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without settings of the service, a free port, ``variables``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("APP_")}
    return {
        **kept,
        "APP_LOG_FORMAT": "json",
        "APP_GRPC_PORT": "0",  # paceline: only grpc
        "APP_ADMIN_PORT": "0",
        **variables,
    }


@dataclass
class ServiceProcess:
    """A started ``myservice run``."""

    process: subprocess.Popen[bytes]
    folder: Path
    url: str = ""
    grpc: str = ""  # paceline: only grpc
    admin: str = ""
    token: str = ""

    def stderr(self) -> str:
        """What it has written for people so far."""
        return (self.folder / "stderr").read_text()

    def log(self) -> str:
        """What it has logged (to stdout) so far."""
        return (self.folder / "stdout").read_text()

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Stop it and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def until_ready(self) -> None:
        """Wait for its banner. Errors: AssertionError with the output instead."""
        deadline = time.monotonic() + PATIENCE
        while "\nStop " not in self.stderr():
            over = self.process.poll() is not None or time.monotonic() > deadline
            assert not over, self.stderr() + self.log()
            time.sleep(0.05)
        for name, pattern in PRINTED.items():
            setattr(self, name, re.findall(pattern, self.stderr())[-1])


def start_service(data_dir: Path, **variables: str) -> ServiceProcess:
    """Start ``myservice run`` on ``data_dir``; its output goes to files beside that."""
    folder = data_dir.parent / f"output-{time.monotonic_ns()}"
    folder.mkdir(parents=True)
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(
            [MYSERVICE, "run", "--port", "0", "--data-dir", data_dir],
            cwd=folder,
            env=environment(**variables),
            stdout=out,
            stderr=err,
        )
    return ServiceProcess(process, folder)


@contextmanager
def running_service(data_dir: Path, **variables: str) -> Generator[ServiceProcess]:
    """A service that is ready. *Resources*: its process, until the end of the block."""
    service = start_service(data_dir, **variables)
    try:
        service.until_ready()
        yield service
    finally:
        if service.process.poll() is None:
            service.process.terminate()
            try:
                service.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                service.process.kill()
                service.process.wait()


def postgres_pids(data_dir: Path) -> list[int]:
    """The PostgreSQL processes that work in ``data_dir``."""
    wanted = str(data_dir.resolve())
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if str((entry / "cwd").readlink()).startswith(wanted):
                    found.append(int(entry.name))
            except OSError:
                continue  # gone meanwhile
    return found
