"""The gRPC server: grpcio's aio server on one port, in this process, stopped by us.

`RpcServer.stop` ends streams at once, finishes unary calls in flight, then cuts off the rest and
says so. grpcio cancels the calls that reach it while it closes, before a client can know, so with
a ``max_connection_age`` the stop first waits until every client has been sent elsewhere. Limits
are the protocol's own: a message that is too large is refused by grpcio before it is here, as is a
connection's stream beyond its number or a client that pings too often; a connection that does not
answer a ping is closed, and what it held is cancelled. No TLS: as for HTTP, that is the proxy's.
Built by ``main``; what it serves is ``app``.
"""

import asyncio
from contextlib import suppress
from typing import Final

from grpc import aio

from paceline.concurrency import remaining
from paceline.errors import Code, Error
from paceline.grpc.app import RpcApp
from paceline.grpc.sockets import close_listeners, count_connections, refuse_new

_STOP_TIMEOUT: Final = 30.0
_MAX_UNWIND: Final = 1.0
_AGE_JITTER: Final = 1.25  # grpcio varies the age by a tenth, and closing takes a round trip
_LOOK: Final = 0.05
_SETTLE: Final = 0.1  # for connections that have begun: a round trip, and for us to accept them


class RpcServer:
    """Serve ``app`` over gRPC on ``host``; ``port`` 0 takes a free one.

    Settings: ``max_message`` in bytes, of a request (RESOURCE_EXHAUSTED beyond); ``max_calls`` at
    once in all, ``max_connection_streams`` at once a connection, whose client lets the others
    wait. In seconds: a connection that is silent for ``keepalive`` is pinged and closed after
    ``keepalive_timeout``; a client may ping every ``min_ping_interval``. ``reuse_port``: several
    processes listen on one port. ``max_connection_age``: a connection is closed after about so
    long, when its calls are done, and the client makes another, which may be to another process;
    None for never.

    *Resources*: between `start` and `stop`, the port, grpcio's threads, and a task for each call.
    """

    def __init__(
        self,
        app: RpcApp,
        *,
        host: str,
        port: int,
        max_message: int = 1024 * 1024,
        max_calls: int = 10_000,
        max_connection_streams: int = 1_000,
        keepalive: float = 60.0,
        keepalive_timeout: float = 20.0,
        min_ping_interval: float = 10.0,
        reuse_port: bool = False,
        max_connection_age: float | None = None,
    ) -> None:
        self.name = "grpc"
        self._app = app
        self._host = host
        self._wanted_port = port
        self._port: int | None = None
        self._max_calls = max_calls
        self._reuse_port = reuse_port
        self._max_age = max_connection_age
        self._options: list[tuple[str, int]] = [
            ("grpc.max_receive_message_length", max_message),
            ("grpc.max_concurrent_streams", max_connection_streams),
            ("grpc.keepalive_time_ms", int(keepalive * 1000)),
            ("grpc.keepalive_timeout_ms", int(keepalive_timeout * 1000)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.http2.min_ping_interval_without_data_ms", int(min_ping_interval * 1000)),
            ("grpc.so_reuseport", int(reuse_port)),
            # What waits to be looked at: grpcio's own bound of 3,000 cuts the rest off as
            # CANCELLED, which no client takes for a refusal.
            ("grpc.server.max_pending_requests", max_calls),
            ("grpc.server.max_pending_requests_hard_limit", 2 * max_calls),
        ]
        if max_connection_age is not None:
            self._options.append(("grpc.max_connection_age_ms", int(max_connection_age * 1000)))
        self._server: aio.Server | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._refusing = False

    @property
    def port(self) -> int:
        """The port that is listened on; before `start`, the one that was asked for."""
        return self._wanted_port if self._port is None else self._port

    async def start(self) -> None:
        """Listen. Errors: Error(FAILED_PRECONDITION) when the address cannot be had."""
        if self._server is not None:
            return
        server = aio.server(
            handlers=[self._app], options=self._options, maximum_concurrent_rpcs=self._max_calls
        )
        host = f"[{self._host}]" if ":" in self._host else self._host
        try:
            self._port = server.add_insecure_port(f"{host}:{self._wanted_port}")
        except RuntimeError as exc:
            raise Error(
                Code.FAILED_PRECONDITION,
                f"cannot listen to port {self._wanted_port} on {self._host}: stop the process that"
                " has it, or choose another port",
            ) from exc
        self._server = server
        self._app.streams.begin()
        await server.start()

    async def stop_accepting(self) -> None:
        """Take no new connections when others share the port; those there are go on as before.

        Otherwise nothing, for a socket that is closed refuses, and nobody else would accept.
        """
        if self._port is not None and self._reuse_port and refuse_new(self._port):
            await asyncio.sleep(_SETTLE)
            close_listeners(self._port)
            self._refusing = True

    async def stop(self) -> None:
        """Stop accepting, end streams, finish what is in flight, cut off what is late.

        The deadline is the ambient one, or 30 s. Errors: Error(DEADLINE_EXCEEDED) that says how
        many calls were cut off; everything is closed then, too.
        """
        if self._server is None:
            return
        left = remaining()
        end = asyncio.get_running_loop().time() + (_STOP_TIMEOUT if left is None else left)
        self._app.end_streams()
        try:
            await self._until_all_have_left()
        finally:
            server, self._server, self._port = self._server, None, None
            self._refusing = False
            patience = max(0.0, end - asyncio.get_running_loop().time())
            unwind = min(_MAX_UNWIND, patience / 4)
            self._close(server, patience)
        try:
            async with asyncio.timeout(patience - unwind):
                await self._app.until_idle()
        except TimeoutError:
            pass
        finally:
            cut = self._app.in_flight
            # Nothing of ours is left but what a client does not read: no reason to wait for it.
            closed = self._close(server, 0 if cut else unwind / 2)
        await asyncio.wait({closed, *self._closing}, timeout=unwind)
        if cut:
            message = f"{cut} calls in flight were cut off"
            raise Error(Code.DEADLINE_EXCEEDED, message)

    async def _until_all_have_left(self) -> None:
        """Wait, with nobody new, until age has ended every connection, or half of the time is over.

        Only where clients find another process at once: others would have nowhere to go.
        """
        if self._max_age is None or self._port is None or not self._refusing:
            return
        left = remaining()
        patience = min(_AGE_JITTER * self._max_age, (_STOP_TIMEOUT if left is None else left) / 2)
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while count_connections(self._port):  # noqa: ASYNC110 - grpcio tells nobody
                    await asyncio.sleep(_LOOK)

    def _close(self, server: aio.Server, grace: float) -> asyncio.Task[None]:
        """Close the server within ``grace``, also when who asked for it is cancelled."""
        closing = asyncio.create_task(server.stop(grace), name="close gRPC")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return closing
