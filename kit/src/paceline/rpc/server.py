"""The gRPC server: grpcio's aio server on one port, in this process, stopped by us.

`RpcServer.stop` ends streams at once, finishes unary calls in flight, then cuts off the rest and
says so. Limits are the protocol's own: a message that is too large is refused by grpcio before it
is here, as is a connection's stream beyond its number or a client that pings too often; a
connection that does not answer a ping is closed, and what it held is cancelled. No TLS: as for
HTTP, that is the proxy's. Built by ``main``; what it serves is ``app``.
"""

import asyncio
from typing import Final

from grpc import aio

from paceline.deadline import remaining
from paceline.errors import Code, Error
from paceline.rpc.app import RpcApp

_STOP_TIMEOUT: Final = 30.0
_MAX_UNWIND: Final = 1.0


class RpcServer:
    """Serve ``app`` over gRPC on ``host``; ``port`` 0 takes a free one.

    Settings: ``max_message`` in bytes, of a request (RESOURCE_EXHAUSTED beyond); ``max_calls`` at
    once in all, ``max_connection_streams`` at once a connection, whose client lets the others
    wait. In seconds: a connection that is silent for ``keepalive`` is pinged and closed after
    ``keepalive_timeout``; a client may ping every ``min_ping_interval``. ``reuse_port``: several
    processes listen on one port.

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
    ) -> None:
        self.name = "grpc"
        self._app = app
        self._host = host
        self._wanted_port = port
        self._port: int | None = None
        self._max_calls = max_calls
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
        self._server: aio.Server | None = None
        self._closing: set[asyncio.Task[None]] = set()

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

    async def stop(self) -> None:
        """Stop accepting, end streams, finish what is in flight, cut off what is late.

        The deadline is the ambient one, or 30 s. Errors: Error(DEADLINE_EXCEEDED) that says how
        many calls were cut off; everything is closed then, too.
        """
        server, self._server, self._port = self._server, None, None
        if server is None:
            return
        left = remaining()
        patience = _STOP_TIMEOUT if left is None else left
        unwind = min(_MAX_UNWIND, patience / 4)
        self._close(server, patience)
        self._app.end_streams()
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

    def _close(self, server: aio.Server, grace: float) -> asyncio.Task[None]:
        """Close the server within ``grace``, also when who asked for it is cancelled."""
        closing = asyncio.create_task(server.stop(grace), name="close gRPC")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return closing
