"""The load on gRPC servers: ``rpcload``, a program in Go of ours, and what it tells.

It writes HTTP/2 frames to plain sockets and takes about a sixth of ghz's processor time a call (58
against 373 µs beside each other on a busy machine); on two cores that are shared with the server,
ghz would measure itself. Rejected: h2load, which sends one body only, so that all calls would ask
for the same record.
"""

import base64
import json
import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from servers import build_go

HERE = Path(__file__).parent
CONNECTIONS = 8
STREAMS = 8


def find_rpcload() -> Path:
    """The program, built first. Errors: `servers.Skipped` without Go, `servers.Failed`."""
    return build_go(HERE / "rpcload", "rpcload")


@dataclass(frozen=True)
class RpcPlan:
    """What to send: ``messages`` and ``tokens`` in turn, each encoded message in base64."""

    address: str
    path: str
    messages: Sequence[str]
    tokens: Sequence[str]
    connections: int = CONNECTIONS
    streams: int = STREAMS
    seconds: float = 0.0


@dataclass(frozen=True)
class RpcResult:
    """What a closed loop came to; times in ms. ``failed``: how often each other status came.

    ``calls``: within the time; ``all``: those after it, too. ``reopened``: connections that the
    server sent away. ``cpu_seconds``: of the load itself.
    """

    calls: int
    all: int
    failed: dict[str, int]
    seconds: float
    p50: float
    p99: float
    max: float
    cpu_seconds: float
    reopened: int

    @property
    def errors(self) -> int:
        """Calls that were not answered well."""
        return sum(self.failed.values())


def encoded(messages: Sequence[bytes]) -> list[str]:
    """As a plan has them."""
    return [base64.b64encode(message).decode() for message in messages]


def call(program: Path, plan: RpcPlan, *, core: int | None = None) -> RpcResult:
    """Call in a closed loop, on that ``core`` alone if given."""
    done = subprocess.run(
        [program], check=True, input=_line("calls", plan), stdout=subprocess.PIPE,
        preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
    )  # fmt: skip
    return RpcResult(**json.loads(done.stdout))


@dataclass(frozen=True)
class Delivery:
    """A message of a stream, and when it came, in seconds since the epoch."""

    stream: int
    at: float
    message: bytes


class Followers:
    """Streams that are followed by the program. *Resources*: it, until `close`."""

    def __init__(self, program: Path, plan: RpcPlan) -> None:
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._write(_line("follow", plan))

    def count(self) -> tuple[int, int]:
        """Messages so far, and streams that have had one. Errors: SystemExit when one ended."""
        told = self._ask(b"count\n")
        if told["ended"]:
            raise SystemExit(f"streams ended: {told['ended']}")
        return told["heard"], told["listening"]

    def end(self) -> list[Delivery]:
        """All that came."""
        return [
            Delivery(one["stream"], one["at"] / 1e9, base64.b64decode(one["message"]))
            for one in self._ask(b"end\n")
        ]

    def close(self) -> None:
        """End the program."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.communicate()

    def _ask(self, command: bytes) -> Any:
        self._write(command)
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"rpcload ended with {self._process.wait()}")
        return json.loads(line)

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.write(line)
        self._process.stdin.flush()


def _line(mode: str, plan: RpcPlan) -> bytes:
    return json.dumps({"mode": mode, **asdict(plan)}).encode() + b"\n"
