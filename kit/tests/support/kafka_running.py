"""A real Apache Kafka for tests: one node of it, on loopback, fetched once into a cache folder.

Needs Java and Maven, so it is used only on request (``make kafka``), or when an earlier run has
filled the cache folder.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from nats_running import free_port

VERSION = "4.1.0"
ROOT = Path(__file__).parents[3]
CACHE = ROOT / ".cache" / f"kafka-{VERSION}"
FETCH = ROOT / "kit/tests/tools/fetch_kafka.py"
_FETCH_TIMEOUT = 600.0
_START_TIMEOUT = 60.0

SETTINGS = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{login},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{login}
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=\
  org.apache.kafka.common.security.plain.PlainLoginModule required user_ada="lovelace";
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT
log.dirs={folder}/store
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
"""


def missing() -> str | None:
    """Why there is no Kafka here and none can be fetched; None when there is one."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None and not (program == "mvn" and CACHE.is_dir()):
            return f"a real Kafka needs {program}, which is not on PATH"
    if CACHE.is_dir():
        return None
    if os.environ.get("KAFKA_TESTS") != "1":
        return "fetching Kafka takes a minute or more: run `make kafka`, or set KAFKA_TESTS=1"
    fetched = subprocess.run(
        [sys.executable, FETCH, CACHE, VERSION],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_FETCH_TIMEOUT, check=False,
    )  # fmt: skip
    if fetched.returncode:
        return f"Maven could not fetch Kafka: {fetched.stdout.decode(errors='replace')[-400:]}"
    return None


def running(folder: Path) -> "Generator[KafkaServer]":
    """For a fixture: a server in ``folder``, killed at the end; skips where there can be none."""
    if (reason := missing()) is not None:
        pytest.skip(reason)
    server = KafkaServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@dataclass
class KafkaServer:
    folder: Path
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None
    login_port: int = 0
    _controller: int = 0

    @property
    def servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, again on the same port; returns when it listens."""
        if not self.port:
            self.port, self.login_port, self._controller = (free_port() for _ in range(3))
            self.folder.mkdir(parents=True, exist_ok=True)
            settings = SETTINGS.format(
                folder=self.folder,
                port=self.port,
                login=self.login_port,
                controller=self._controller,
            )
            (self.folder / "server.properties").write_text(settings)
            cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            tool = ("kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c")
            self._java(*tool).wait(_START_TIMEOUT)
        self.process = self._java("kafka.Kafka")
        self._wait()

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def _java(self, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                ["java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                 "-cp", f"{CACHE}/*", *arguments, self.folder / "server.properties"],
                stdout=log, stderr=log, env={"PATH": os.environ["PATH"]},
            )  # fmt: skip

    def _wait(self) -> None:
        until = time.monotonic() + _START_TIMEOUT
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
                return
            assert self.process is not None
            alive = self.process.poll() is None and time.monotonic() < until
            assert alive, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.05)
