"""The gRPC server: grpcio's aio server on one port, in this process.

`RpcServer.stop` ends streams at once, finishes unary calls in flight, then cuts off the rest and
reports their number. grpcio cancels calls that arrive while it closes, before a client can know, so
with a ``max_connection_age`` the stop first waits until every client has been sent elsewhere. The
limits are the protocol's own: grpcio refuses a message that is too large, a connection's stream
beyond its number and a client that pings too often; a connection that does not answer a ping is
closed, and its calls are cancelled. No TLS: as for HTTP, that is a proxy's task.
"""

import asyncio
import errno
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from grpc import aio

from paceline.concurrency import remaining
from paceline.errors import Code, Error
from paceline.grpc.app import RpcApp
from paceline.grpc.sockets import close_listeners, count_connections, drop_new_connections

_STOP_TIMEOUT: Final = 30.0
_MAX_UNWIND: Final = 1.0
_AGE_JITTER: Final = 1.25  # grpcio varies the age by a tenth, and closing takes a round trip
_POLL: Final = 0.05
_SETTLE: Final = 0.1  # for connections that have begun: a round trip, and accepting them


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcLimits:
    """What clients may use of an `RpcServer`. Times in seconds, sizes in bytes.

    ``max_message``: of a request; RESOURCE_EXHAUSTED beyond. ``max_calls``: at once in all.
    ``max_connection_streams``: at once on a connection; its client keeps the others waiting.
    ``keepalive``: a connection that is silent for so long is pinged, and closed
    ``keepalive_timeout`` later if it does not answer. ``min_ping_interval``: between two pings of a
    client. ``max_connection_age``: a connection is closed after about so long, when its calls are
    done, and the client opens another, which may be to another process; None for never.
    """

    max_message: int = 1024 * 1024
    max_calls: int = 10_000
    max_connection_streams: int = 1_000
    keepalive: float = 60.0
    keepalive_timeout: float = 20.0
    min_ping_interval: float = 10.0
    max_connection_age: float | None = None


class RpcServer:
    """Serve ``app`` over gRPC on ``host``; ``port`` 0 takes a free one.

    ``reuse_port``: several processes listen on one port, and the kernel distributes connections.

    *Resources*: between `start` and `stop`, the port, grpcio's threads, and a task for each call.
    """

    def __init__(
        self,
        app: RpcApp,
        *,
        host: str,
        port: int,
        limits: RpcLimits | None = None,
        reuse_port: bool = False,
    ) -> None:
        self.name = "grpc"
        self._app = app
        self._host = host
        self._configured_port = port
        self._port: int | None = None
        self._limits = limits or RpcLimits()
        self._reuse_port = reuse_port
        self._server: aio.Server | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._dropping = False

    @property
    def port(self) -> int:
        """The port that the server listens on; before `start`, the configured one."""
        return self._configured_port if self._port is None else self._port

    async def start(self) -> None:
        """Listen. Errors: Error(FAILED_PRECONDITION) when the address is not available."""
        if self._server is not None:
            return
        server = aio.server(
            handlers=[self._app],
            options=_options(self._limits, reuse_port=self._reuse_port),
            maximum_concurrent_rpcs=self._limits.max_calls,
        )
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._check_port()
        try:
            self._port = server.add_insecure_port(f"{host}:{self._configured_port}")
        except RuntimeError as exc:
            raise self._in_use() from exc
        self._server = server
        self._app.streams.open()
        await server.start()

    def _check_port(self) -> None:
        """Find a port in use before grpcio does, which writes to stderr and gives no reason."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._reuse_port:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                probe.bind((self._host, self._configured_port))
            except OSError as exc:
                if exc.errno == errno.EADDRINUSE:
                    raise self._in_use() from exc

    def _in_use(self) -> Error:
        return Error(
            Code.FAILED_PRECONDITION,
            f"cannot listen to port {self._configured_port} on {self._host}: stop the process"
            " that has it, or choose another port",
        )

    async def stop_accepting(self) -> None:
        """Accept no new connections if other processes share the port; existing ones go on.

        Otherwise nothing happens: a closed socket would refuse clients that no other process takes.
        """
        if self._port is not None and self._reuse_port and drop_new_connections(self._port):
            await asyncio.sleep(_SETTLE)
            close_listeners(self._port)
            self._dropping = True

    async def stop(self) -> None:
        """Stop accepting, end streams, finish what is in flight, cut off what is late.

        The deadline is the ambient one, or 30 s. Errors: Error(DEADLINE_EXCEEDED) with the number
        of calls that were cut off; everything is closed then, too.
        """
        if self._server is None:
            return
        left = remaining()
        end = asyncio.get_running_loop().time() + (_STOP_TIMEOUT if left is None else left)
        self._app.end_streams()
        try:
            await self._until_disconnected()
        finally:
            server, self._server, self._port = self._server, None, None
            self._dropping = False
            timeout = max(0.0, end - asyncio.get_running_loop().time())
            unwind = min(_MAX_UNWIND, timeout / 4)
            self._close(server, timeout)
        try:
            async with asyncio.timeout(timeout - unwind):
                await self._app.until_idle()
        except TimeoutError:
            pass
        finally:
            cut = self._app.in_flight
            # What is left is only what a client does not read: not worth waiting for.
            closed = self._close(server, 0 if cut else unwind / 2)
        await asyncio.wait({closed, *self._closing}, timeout=unwind)
        if cut:
            message = f"{cut} calls in flight were cut off"
            raise Error(Code.DEADLINE_EXCEEDED, message)

    async def _until_disconnected(self) -> None:
        """Wait until age has ended every connection, or half of the time has passed.

        Only when new connections go to other processes: otherwise clients would only reconnect.
        """
        age = self._limits.max_connection_age
        if age is None or self._port is None or not self._dropping:
            return
        left = remaining()
        timeout = min(_AGE_JITTER * age, (_STOP_TIMEOUT if left is None else left) / 2)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while count_connections(self._port):  # noqa: ASYNC110 - grpcio has no event for it
                    await asyncio.sleep(_POLL)

    def _close(self, server: aio.Server, grace: float) -> asyncio.Task[None]:
        """Close the server within ``grace`` seconds, even if the caller is cancelled."""
        closing = asyncio.create_task(server.stop(grace), name="close gRPC")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return closing


def _options(limits: RpcLimits, *, reuse_port: bool) -> list[tuple[str, int]]:
    options = [
        ("grpc.max_receive_message_length", limits.max_message),
        ("grpc.max_concurrent_streams", limits.max_connection_streams),
        ("grpc.keepalive_time_ms", int(limits.keepalive * 1000)),
        ("grpc.keepalive_timeout_ms", int(limits.keepalive_timeout * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", int(limits.min_ping_interval * 1000)),
        ("grpc.so_reuseport", int(reuse_port)),
        # Calls that wait to be started: grpcio's own bound of 3,000 ends the rest as CANCELLED,
        # which no client takes for a refusal.
        ("grpc.server.max_pending_requests", limits.max_calls),
        ("grpc.server.max_pending_requests_hard_limit", 2 * limits.max_calls),
    ]
    if limits.max_connection_age is not None:
        options.append(("grpc.max_connection_age_ms", int(limits.max_connection_age * 1000)))
    return options
