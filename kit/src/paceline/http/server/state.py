"""What the connections of one HTTP server share: the app, the log, the limits, the open tasks.

Invariant: every task that outlives its connection or its response is in ``SharedState.tasks`` until
it ends, so that a stop can wait for it or cancel it. While a request is being answered its
connection holds the task, which spares the busy path a set and a callback.
"""

import asyncio
from typing import TYPE_CHECKING, Protocol

from paceline.http.asgi import ASGIApp
from paceline.http.server.known_heads import KnownHeads
from paceline.http.server.limits import ServerLimits
from paceline.http.server.prepared import PreparedResponse
from paceline.http.server.streams import StreamApp
from paceline.http.server.uploads import Uploads
from paceline.http.server.write_buffer import WriteBuffer
from paceline.log import Logger

if TYPE_CHECKING:
    from paceline.http.server.http2 import HeadCache  # which only HTTP/2 needs


class AdmissionCheck(Protocol):
    """Decides about a request before the app is called; `middleware.PreAdmission` implements it."""

    def rejection(self, method: str, path: str) -> PreparedResponse | None:
        """The answer to a request for which there is no room; None: call the app."""
        ...


class Connection(Protocol):
    """One client's connection, of whatever version, as the server sees it."""

    def check(self, now: float) -> None:
        """End what is past its deadline; ``now`` is the loop's time."""
        ...

    def end_after_response(self) -> None:
        """The server stops: close after what is being answered, or after one more request."""
        ...

    def close_if_idle(self) -> None:
        """Close, unless a request is under way or waits in the kernel."""
        ...

    def abort(self) -> int:
        """Close at once; the number of requests that were cut off."""
        ...


class SharedState:
    """One run of a server, from start to stop."""

    def __init__(
        self,
        app: ASGIApp,
        log: Logger,
        limits: ServerLimits,
        admission_check: AdmissionCheck | None = None,
        streams: StreamApp | None = None,
    ) -> None:
        self.app = app
        self.log = log
        self.limits = limits
        self.admission_check = admission_check
        self.streams = streams
        self.date_line: bytes = b""
        """The field ``date`` as a line of HTTP/1.1."""
        self.date_field: bytes = b""
        """The same, encoded by `encode_fields`."""
        self.write_buffer: WriteBuffer = WriteBuffer()
        self.uploads: Uploads = Uploads(
            max_waiting=limits.max_uploads, max_bytes=limits.max_upload_bytes
        )
        self.known_heads: KnownHeads = KnownHeads()
        self.answering: int = 0
        """Requests of HTTP/1.1 that are being answered."""
        self.head_cache: HeadCache | None = None
        """Of HTTP/2; made by the first connection."""
        self.stopping: bool = False
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.changed: asyncio.Event = asyncio.Event()
        """Set whenever a connection or a kept task has ended."""

    def keep(self, task: asyncio.Task[None]) -> None:
        """Hold a task that its connection no longer holds, until it ends."""
        self.tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self.changed.set()
