"""The gRPC server: an HTTP server whose streams are calls.

`RpcServer.stop` ends streams at once, finishes unary calls in flight, then cuts off the rest and
reports their number. Clients are told by GOAWAY before anything ends, so a call that arrives
meanwhile is answered or was never taken. The limits are the protocol's own: a connection's streams,
a client that pings too often, a connection that does not answer a ping.
"""

import asyncio
import socket
from contextlib import suppress
from typing import Final

from paceline.concurrency import remaining
from paceline.errors import Code, Error
from paceline.grpc.app import RpcApp
from paceline.grpc.limits import RpcLimits
from paceline.grpc.web import RpcWebApp
from paceline.http import ServerLimits
from paceline.http.server import HttpServer, SharedListener, TlsFiles
from paceline.log import Logger

_STOP_TIMEOUT: Final = 30.0
_IDLE_TIMEOUT: Final = 300.0  # without a call; a client reconnects when it has one
_MAX_UNWIND: Final = 1.0
_AHEAD: Final = 1.1  # of the HTTP server, which cuts off by itself
_LATER: Final = 1.2  # the HTTP server's own time-out, whose answer is none of gRPC-Web or Connect


class RpcServer:
    """Serve ``app`` by gRPC, gRPC-Web and Connect on ``host``; ``port`` 0 takes a free one.

    ``reuse_port``: several processes listen on one port, and the kernel distributes connections.
    ``listener``: accept from this socket instead, for one run; other processes may hold it, too.
    ``tls``: connections are encrypted.

    *Resources*: between `start` and `stop`, the port, and a task for each call.

    Example: ``RpcServer(app, log, host="127.0.0.1", port=50051)``.
    """

    def __init__(
        self,
        app: RpcApp,
        log: Logger,
        *,
        host: str,
        port: int,
        limits: RpcLimits | None = None,
        reuse_port: bool = False,
        listener: socket.socket | SharedListener | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        self.name = "grpc"
        self._app = app
        limits = app.limits = limits or RpcLimits()
        self._http = HttpServer(
            RpcWebApp(app),
            log,
            host=host,
            port=port,
            limits=_server_limits(limits),
            reuse_port=reuse_port,
            listener=listener,
            tls=tls,
            streams=app,
            name=self.name,
        )
        self._stopping: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that the server listens on; before `start`, the configured one."""
        return self._http.port

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return self._http.connections

    async def start(self) -> None:
        """Listen. Errors: Error(FAILED_PRECONDITION) when the address is not available."""
        await self._http.start()
        self._app.streams.open()

    async def stop_accepting(self) -> None:
        """Accept no new connections, and tell those that are there to go elsewhere."""
        await self._http.stop_accepting()

    async def stop(self) -> None:
        """Stop accepting, end streams, finish what is in flight, cut off what is late.

        The deadline is the ambient one, or 30 s. Errors: Error(DEADLINE_EXCEEDED) with the number
        of calls that were cut off; everything is closed then, too.
        """
        left = remaining()
        timeout = _STOP_TIMEOUT if left is None else left
        unwind = min(_MAX_UNWIND, timeout / 4)
        self._app.end_streams()
        stopping = self._stopping = asyncio.create_task(self._http.stop(), name="stop gRPC")
        try:
            async with asyncio.timeout(timeout - unwind * _AHEAD):
                await self._app.until_idle()
            # What is left is only what a client does not read: not worth waiting for.
            await asyncio.wait({stopping}, timeout=unwind / 2)
        except TimeoutError:
            pass
        finally:
            cut = self._app.in_flight
            stopping.cancel()  # it closes everything
        await asyncio.wait({stopping}, timeout=unwind / 2)
        if not stopping.cancelled():
            stopping.exception()  # it counts requests of other protocols, too
        if cut:
            with suppress(TimeoutError):
                async with asyncio.timeout(unwind / 4):
                    await self._app.until_idle()
            message = f"{cut} calls in flight were cut off"
            raise Error(Code.DEADLINE_EXCEEDED, message)


def _server_limits(limits: RpcLimits) -> ServerLimits:
    return ServerLimits(
        max_connections=limits.max_connections,
        max_streams=limits.max_connection_streams,
        keepalive=limits.keepalive,
        keepalive_timeout=limits.keepalive_timeout,
        min_ping_interval=limits.min_ping_interval,
        read_timeout=limits.read_timeout * _LATER,
        idle_timeout=_IDLE_TIMEOUT,
        max_connection_age=limits.max_connection_age,
        max_connection_age_grace=limits.max_connection_age_grace,
    )
