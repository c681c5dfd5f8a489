"""What the connections of one HTTP server share: the app, the log, the limits, who is alive.

Invariant: every task that outlives its connection or its response is in ``State.tasks`` until it
ends, so a stop can wait for it or cancel it. While a request is being answered its connection
holds the task, which spares the busy path a set and a callback. Made by ``server`` at each start;
read by ``protocol`` and ``reading``.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from uvicorn.server import ServerState

from paceline.http.asgi import ASGIApp
from paceline.http.server.write_buffer import WriteBuffer
from paceline.log import Logger


class AdmissionCheck(Protocol):
    """Who may turn a request away before the app is called."""

    def refusal(self, method: str, path: str) -> bytes | None:
        """A whole response that leaves the connection open, or None: call the app."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What one client may ask of a server; times in seconds, sizes in bytes."""

    read_timeout: float
    write_timeout: float
    idle_timeout: float
    max_header_bytes: int
    max_headers: int
    max_target_bytes: int = 8 * 1024
    max_pipelined: int = 64
    linger: float = 2.0
    """How long to listen on after an answer that cut a request short, so that it is not lost."""


class State(ServerState):
    """One run of a server, from start to stop."""

    def __init__(
        self, app: ASGIApp, log: Logger, limits: ServerLimits, gate: AdmissionCheck | None = None
    ) -> None:
        super().__init__()
        self.app = app
        self.log = log
        self.limits = limits
        self.gate = gate
        self.date_line = b""
        self.outbox: WriteBuffer = WriteBuffer()
        self.stopping = False
        self.changed: asyncio.Event = asyncio.Event()
        """Set whenever a connection or an adopted task has ended."""

    def adopt(self, task: asyncio.Task[None]) -> None:
        """Keep a task that its connection lets go of."""
        self.tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self.changed.set()
