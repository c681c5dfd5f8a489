"""The HTTP server: any ASGI app over HTTP/1.1 and HTTP/2, in this process.

The time-outs are those of Go's net/http. No request has a timer: connections store deadlines and
one sweep checks them, so a deadline takes effect up to a quarter of the shortest one late. Signals,
lifespan and logging belong to ``paceline.lifecycle`` and the app. `HttpServer.stop` finishes what
is in flight, then cuts off the rest and reports its number; a kept connection whose client may be
sending just now gets one more answer, with ``connection: close``.
"""

import asyncio
import socket
import time
from email.utils import formatdate
from typing import Final

from paceline.concurrency import remaining
from paceline.errors import Code, Error
from paceline.http.asgi import ASGIApp
from paceline.http.server.addresses import server_url
from paceline.http.server.fair_share import SharedListener
from paceline.http.server.fields import encode_fields
from paceline.http.server.first_bytes import FirstBytes
from paceline.http.server.limits import ServerLimits
from paceline.http.server.listener import Listener, bound_sockets, listen_error
from paceline.http.server.state import AdmissionCheck, Connection, SharedState
from paceline.http.server.streams import StreamApp
from paceline.http.server.tls import TlsFiles
from paceline.log import Logger

_STOP_TIMEOUT: Final = 30.0
_MAX_UNWIND: Final = 1.0
# New connections in a round of the loop: from a queue that other processes empty, too, only a few.
_MAX_ACCEPTS: Final = 64
_MAX_SHARED_ACCEPTS: Final = 4
_MAX_SWEEP: Final = 1.0
_SWEEP_AT_STOP: Final = 0.1


class HttpServer:
    """Serve ``app`` on ``host``, one address; ``port`` 0 takes a free one.

    ``limits``: time-outs, sizes and numbers. ``reuse_port``: several processes listen on one port,
    and the kernel distributes connections. ``listener``: accept from this socket instead, TCP or
    Unix, for one run; other processes may hold it, too, and take their share.
    ``admission_check``: may reject a request when its head has been read, before there is a task.
    ``streams``: takes requests of HTTP/2 before the app does. ``tls``: connections are encrypted,
    their version of HTTP is agreed on in the handshake, and the files are read again when they
    change. ``name``: for errors and logs.

    *Resources*: between `start` and `stop`, the listening socket, a task for each request being
    answered, and one timer.

    Example: ``HttpServer(app, log, host="127.0.0.1", port=8080,
    limits=ServerLimits(read_timeout=5.0))``.
    """

    def __init__(
        self,
        app: ASGIApp,
        log: Logger,
        *,
        host: str,
        port: int,
        limits: ServerLimits | None = None,
        reuse_port: bool = False,
        listener: socket.socket | SharedListener | None = None,
        admission_check: AdmissionCheck | None = None,
        streams: StreamApp | None = None,
        tls: TlsFiles | None = None,
        name: str = "http",
    ) -> None:
        self.name = name
        self._tls = tls
        self._app = app
        self._log = log
        self._admission_check = admission_check
        self._streams = streams
        self._host = host
        self._configured_port = port
        self._reuse_port = reuse_port
        shared = SharedListener(listener) if isinstance(listener, socket.socket) else listener
        self._inherited: SharedListener | None = shared
        self._max_accepts = _MAX_ACCEPTS if listener is None else _MAX_SHARED_ACCEPTS
        self._limits = limits = limits or ServerLimits()
        shortest = min(limits.read_timeout, limits.write_timeout, limits.idle_timeout)
        self._sweep_interval = min(_MAX_SWEEP, shortest / 4)
        self._listener: Listener | None = None
        self._state = self._new_state()
        self._sweep_timer: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port that the server listens on; before `start`, the configured one."""
        if self._listener is None or not self._listener.sockets:
            return self._configured_port
        opened = self._listener.sockets[0]
        port: int = (
            self._configured_port if opened.family == socket.AF_UNIX else opened.getsockname()[1]
        )
        return port

    @property
    def url(self) -> str:
        """The server's address, for people on this machine."""
        return server_url("http" if self._tls is None else "https", self._host, self.port)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._state.connections)

    async def start(self) -> None:
        """Listen. Errors: Error(FAILED_PRECONDITION) when the address is not available."""
        if self._listener is not None:
            return
        loop = asyncio.get_running_loop()
        self._state = state = self._new_state()
        inherited, self._inherited = self._inherited, None
        try:
            self._listener = Listener(
                await self._sockets() if inherited is None else [inherited.socket],
                lambda: FirstBytes(state, loop),
                limits=self._limits,
                count=lambda: len(state.connections),
                max_accepts=self._max_accepts,
                on_error=lambda exc: self._log.warning("cannot accept connections", error=exc),
                admission_check=self._admission_check,
                tls=self._tls,
                on_handshake_error=lambda exc: self._log.debug("no TLS handshake", error=exc),
                share=None if inherited is None else inherited.share,
            )
        except OSError as exc:
            raise listen_error(self._host, self._configured_port, exc) from exc
        if self._tls is not None:
            self._tls.report(self._log)
        self._sweep()

    def _new_state(self) -> SharedState:
        return SharedState(self._app, self._log, self._limits, self._admission_check, self._streams)

    async def _sockets(self) -> list[socket.socket]:
        return await bound_sockets(self._host, self._configured_port, reuse_port=self._reuse_port)

    async def stop_accepting(self) -> None:
        """Accept no new connections, and on existing ones one more request at most."""
        self._state.stopping = True
        if self._listener is not None:
            self._listener.close()

    async def stop(self) -> None:
        """Stop accepting, finish what is in flight, cut off what outlives the deadline.

        The deadline is the ambient one, or 30 s. Errors: Error(DEADLINE_EXCEEDED) with the number
        of requests that were cut off; everything is closed then, too.
        """
        listener, self._listener = self._listener, None
        if listener is None:
            return
        listener.close()
        self._state.stopping = True
        for connection in self._connections():
            connection.end_after_response()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep()  # often from now on
        left = remaining()
        timeout = _STOP_TIMEOUT if left is None else left
        unwind = min(_MAX_UNWIND, timeout / 4)
        grace = min(self._limits.keep_alive_grace, (timeout - unwind) / 2)
        try:
            # Then every accepted client has a connection.
            await listener.wait_closed(unwind / 4)
            if grace:
                await self._until_empty(grace)
            for connection in self._connections():
                connection.close_if_idle()
            await self._until_empty(timeout - unwind - grace)
        finally:
            cut = self._cut_off()
        await self._until_empty(unwind / 2)  # not all of it: the rest is for raising the error
        if cut:
            message = f"{cut} requests in flight were cut off"
            raise Error(Code.DEADLINE_EXCEEDED, message)

    def _connections(self) -> tuple[Connection, ...]:
        return tuple(self._state.connections)

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
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        tasks = tuple(self._state.tasks)
        for task in tasks:
            task.cancel()
        return len(tasks) + sum(connection.abort() for connection in self._connections())

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        interval = self._sweep_interval
        if self._state.stopping:
            interval = min(interval, _SWEEP_AT_STOP)
        self._sweep_timer = loop.call_later(interval, self._sweep)
        date = formatdate(time.time(), usegmt=True).encode()
        self._state.date_line = b"date: %b\r\n" % date
        self._state.date_field = encode_fields([(b"date", date)])
        if self._tls is not None:
            self._tls.refresh(self._log)
        now = loop.time()
        for connection in self._connections():
            connection.check(now)
