"""The HTTP server: any ASGI app on uvicorn's parser, in this process, stopped by us.

The time-outs are those of Go's net/http. No request has a timer: connections store deadlines and
one sweep looks at them, so a deadline strikes up to a quarter of the shortest one late. Signals,
lifespan and logging belong to ``paceline.lifecycle`` and the app, which is why uvicorn's own
`Server` is not used. `HttpServer.stop` finishes what is in flight, then cuts off the rest and says
so; a kept connection whose client may be sending just now gets one more answer, with
``connection: close``. Built by ``main``; read ``protocol`` next.
"""

import asyncio
import socket
import time
from email.utils import formatdate
from typing import Final, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from paceline.concurrency import remaining
from paceline.errors import Code, Error
from paceline.http.asgi import ASGIApp
from paceline.http.server.listener import Listener, bound, cannot_listen
from paceline.http.server.protocol import HttpConnection
from paceline.http.server.state import AdmissionCheck, ServerLimits, State
from paceline.log import Logger

_STOP_TIMEOUT: Final = 30.0
_MAX_UNWIND: Final = 1.0
# New connections a round of the loop: from a queue that others empty, too, each takes but a few.
_ALONE: Final = 64
_IN_TURN: Final = 4
_MAX_SWEEP: Final = 1.0


class HttpServer:
    """Serve ``app`` over HTTP/1.1 on ``host``, one address; ``port`` 0 takes a free one.

    Settings, in seconds: ``read_timeout`` from the first byte of a request to the end of its
    body (408); ``write_timeout`` from the end of its headers to the end of the response (the
    connection is cut), or for a stream how long its client may take nothing of what there is;
    ``idle_timeout`` between requests. In bytes: ``max_header_bytes`` of all
    headers together (431), as is ``max_headers``, their number. A request target ends at 8 KiB.
    ``reuse_port``: several processes listen on one port, and the kernel spreads the connections.
    ``gate``: who may turn a request away when its head has been read, before there is a task.
    ``max_connections``: one more is closed at once, with a 503.
    ``keep_alive_grace``: seconds that idle connections stay open at a stop, so that a request on
    its way is answered. ``listener``: accept from this socket instead, TCP or Unix, and for one
    run; others may hold it, too.
    ``name`` is for errors and logs.

    *Resources*: between `start` and `stop`, the listening socket, a task for each request being
    answered, and one timer.
    """

    def __init__(
        self,
        app: ASGIApp,
        log: Logger,
        *,
        host: str,
        port: int,
        read_timeout: float = 15.0,
        write_timeout: float = 30.0,
        idle_timeout: float = 60.0,
        max_header_bytes: int = 32 * 1024,
        max_headers: int = 100,
        backlog: int = 2048,
        reuse_port: bool = False,
        gate: AdmissionCheck | None = None,
        max_connections: int = 10_000,
        keep_alive_grace: float = 0.0,
        listener: socket.socket | None = None,
        name: str = "http",
    ) -> None:
        self.name = name
        self._app = app
        self._log = log
        self._gate = gate
        self._max_connections = max_connections
        self._host = host
        self._wanted_port = port
        self._backlog = backlog
        self._reuse_port = reuse_port
        self._keep_alive_grace = keep_alive_grace
        self._given = listener
        self._at_once = _ALONE if listener is None else _IN_TURN
        self._limits = ServerLimits(
            read_timeout=read_timeout,
            write_timeout=write_timeout,
            idle_timeout=idle_timeout,
            max_header_bytes=max_header_bytes,
            max_headers=max_headers,
        )
        self._interval = min(_MAX_SWEEP, min(read_timeout, write_timeout, idle_timeout) / 4)
        self._listener: Listener | None = None
        self._state = State(app, log, self._limits, gate)
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; before `start`, the one that was asked for."""
        if self._listener is None or not self._listener.sockets:
            return self._wanted_port
        opened = self._listener.sockets[0]
        port: int = (
            self._wanted_port if opened.family == socket.AF_UNIX else opened.getsockname()[1]
        )
        return port

    @property
    def url(self) -> str:
        """Where it is, for people on this machine."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._state.connections)

    async def start(self) -> None:
        """Listen. Errors: Error(FAILED_PRECONDITION) when the address cannot be had."""
        if self._listener is not None:
            return
        loop = asyncio.get_running_loop()
        config = Config(
            self._app,
            http=HttpToolsProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            proxy_headers=False,
            workers=1,
        )
        config.load()
        state = self._state = State(self._app, self._log, self._limits, self._gate)
        try:
            self._listener = Listener(
                await self._sockets(),
                lambda: HttpConnection(config, state, loop),
                backlog=self._backlog,
                count=lambda: len(state.connections),
                most=self._max_connections,
                failed=lambda exc: self._log.warning("cannot accept connections", error=exc),
                at_once=self._at_once,
                gate=self._gate,
            )
        except OSError as exc:
            raise cannot_listen(self._host, self._wanted_port, exc) from exc
        self._sweep()

    async def _sockets(self) -> list[socket.socket]:
        given, self._given = self._given, None
        if given is not None:
            return [given]
        return await bound(self._host, self._wanted_port, reuse_port=self._reuse_port)

    async def stop_accepting(self) -> None:
        """Take no new connections, and no new requests on those there are but their next one."""
        self._state.stopping = True
        if self._listener is not None:
            self._listener.close()

    async def stop(self) -> None:
        """Stop accepting, finish what is in flight, cut off what outlives the deadline.

        The deadline is the ambient one, or 30 s. Errors: Error(DEADLINE_EXCEEDED) that says how
        many requests were cut off; everything is closed then, too.
        """
        listener, self._listener = self._listener, None
        if listener is None:
            return
        listener.close()
        self._state.stopping = True
        for connection in self._connections():
            connection.end_after_answer()
        left = remaining()
        patience = _STOP_TIMEOUT if left is None else left
        unwind = min(_MAX_UNWIND, patience / 4)
        grace = min(self._keep_alive_grace, (patience - unwind) / 2)
        try:
            await listener.wait_closed()  # who was let in has a connection now
            if grace:
                await self._until_empty(grace)
            for connection in self._connections():
                connection.close_if_idle()
            await self._until_empty(patience - unwind - grace)
        finally:
            cut = self._cut_off()
        await self._until_empty(unwind / 2)  # not all of it: we want to tell, not be cancelled
        if cut:
            message = f"{cut} requests in flight were cut off"
            raise Error(Code.DEADLINE_EXCEEDED, message)

    def _connections(self) -> tuple[HttpConnection, ...]:
        return tuple(cast("set[HttpConnection]", self._state.connections))

    async def _until_empty(self, seconds: float) -> None:
        state = self._state
        try:
            async with asyncio.timeout(seconds):
                while state.connections or state.tasks:
                    state.changed.clear()
                    await state.changed.wait()
        except TimeoutError:
            pass

    def _cut_off(self) -> int:
        """Close what is still open; the number of requests and tasks this ended."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        tasks = tuple(self._state.tasks)
        for task in tasks:
            task.cancel()
        return len(tasks) + sum(connection.abort() for connection in self._connections())

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(self._interval, self._sweep)
        self._state.date_line = b"date: %b\r\n" % formatdate(time.time(), usegmt=True).encode()
        now = loop.time()
        for connection in self._connections():
            connection.check(now)
