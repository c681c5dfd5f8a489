"""How many instructions a request takes in this process, counted by valgrind.

A count is the same on a busy machine, to a percent, so it shows what a change brings where a time
would not. Server and client are one process: the client writes ready-made requests to its sockets,
one on each, and waits in the loop until all are answered; what the client takes is in the row
``floor``, an `asyncio.Protocol` that answers with ready bytes. Kernel time is not counted. ``get``
and ``rpc`` are the service's own wiring, with rows at hand instead of PostgreSQL; ``get-refused``
and ``rpc-refused`` are the same when there is no room.

Only the requests are counted: a library of two functions, made by ``cc``, tells valgrind when to
begin and to end, so the imports take no time. Needs valgrind and its headers (Debian: valgrind).

``python bench/instructions.py [ROW ...]`` prints a table, half a minute for each row.
``--functions ROW`` prints where the instructions of a row go, by shared library and C function.
``--quick`` serves a few requests of each row without valgrind.
"""

import argparse
import asyncio
import ctypes
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO, cast

import uvloop
from cases import new_tokens
from hpack import Encoder
from trace_cost import Rows

from myservice.config import Config
from myservice.handler.records_grpc import RecordRpc
from myservice.handler.records_http import RecordHandler
from myservice.proto.v1 import records_pb2
from myservice.repository.records import PgRecords
from myservice.scopes import SCOPES
from myservice.service.records import RecordService
from paceline.commands import (
    ProcessSpec,
    ServiceSpec,
    Wiring,
    api_group,
    new_ingress,
    serve_grpc,
    serve_http,
    tune_gc,
    wire,
)
from paceline.grpc import Call, RpcApp, RpcServer, unary
from paceline.http import App, HttpServer, Receive, Scope, Send
from paceline.http import Path as PathParam
from paceline.log import new_logger
from paceline.postgres import Pool, uuid7
from paceline.testing import TEST_SECRET

_CONNECTIONS: Final = 16
_STREAMS: Final = 4  # of an HTTP/2 connection at once
_WARM: Final = 320
_COUNTED: Final = 1280
_SWITCH: Final = """
#include <valgrind/callgrind.h>
void begin(void) { CALLGRIND_START_INSTRUMENTATION; }
void end(void) { CALLGRIND_STOP_INSTRUMENTATION; }
"""
_QUICK: Final = 64
_PATIENCE: Final = 600.0
_ACCEPTED: Final = 0.2  # a first request that is there before may be refused without a connection
_IDS: Final = [str(uuid7()) for _ in range(1000)]
_SERVICE: Final = "myservice.v1.RecordService"
_SMALL: Final = b'{"id":42,"message":"hello, world"}'
_ANSWER: Final = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(_SMALL), _SMALL)
# Frames and flags of HTTP/2 (RFC 9113, section 6).
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_ACK, _END_STREAM, _END_HEADERS = 0x1, 0x1, 0x4


async def raw(_scope: Scope, _receive: Receive, send: Send) -> None:
    """The least that an application can do."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_SMALL))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _SMALL})


def typed() -> App:
    """A typed route and nothing else."""

    async def hello(id: PathParam[int]) -> dict[str, object]:
        """Greet."""
        return {"id": id, "message": "hello, world"}

    app = App()
    app.group("/hello").get("/{id}", hello)
    return app


class Floor(asyncio.Protocol):
    """Answers each request with ready bytes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        del data
        self._transport.write(_ANSWER)


@asynccontextmanager
async def floor(_log: TextIO) -> AsyncGenerator[int]:
    """The least server."""
    server = await asyncio.get_running_loop().create_server(Floor, "127.0.0.1", 0)
    yield int(server.sockets[0].getsockname()[1])
    server.close()


@asynccontextmanager
async def http(app: Callable[..., Awaitable[None]], null: TextIO) -> AsyncGenerator[int]:
    """An application on our server."""
    server = HttpServer(app, new_logger(stream=null, format="json"), host="127.0.0.1", port=0)
    await server.start()
    yield server.port
    await server.stop()


class Client:
    """One socket; `done` is called for each answer. *Resources*: the socket, until `close`."""

    def __init__(self, port: int, done: Callable[[], None]) -> None:
        self._done = done
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def close(self) -> None:
        """Hang up."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def send(self, number: int) -> None:
        """Write the request of this number."""
        raise NotImplementedError

    def _read(self) -> None:
        data = self._socket.recv(1 << 16)
        if not data:
            raise SystemExit("the server hung up")
        self._received(data)

    def _received(self, data: bytes) -> None:
        raise NotImplementedError


class HttpClient(Client):
    """HTTP/1.1, one request at a time; an answer comes in one piece."""

    def __init__(
        self, port: int, done: Callable[[], None], requests: Sequence[bytes], status: int
    ) -> None:
        super().__init__(port, done)
        self._requests = requests
        self._begin = b"HTTP/1.1 %d" % status

    def send(self, number: int) -> None:
        self._socket.send(self._requests[number % len(self._requests)])

    def _received(self, data: bytes) -> None:
        if not data.startswith(self._begin):
            raise SystemExit(data.decode(errors="replace"))
        self._done()


class RpcClient(Client):
    """HTTP/2, as much of it as a load needs; an answer ends with its trailers."""

    def __init__(
        self, port: int, done: Callable[[], None], blocks: Sequence[bytes], bodies: Sequence[bytes]
    ) -> None:
        super().__init__(port, done)
        # The first block fills the table of the fields that the others refer to.
        self._first, *self._blocks = blocks
        self._bodies = bodies
        self._stream = 1
        self._held = b""
        settings = frame(_SETTINGS, 0, 0) + frame(_WINDOW_UPDATE, 0, 0, (1 << 30).to_bytes(4))
        self._socket.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)

    def send(self, number: int) -> None:
        block = self._first if self._stream == 1 else self._blocks[number % len(self._blocks)]
        body = self._bodies[number % len(self._bodies)]
        self._socket.send(
            frame(_HEADERS, _END_HEADERS, self._stream, block)
            + frame(_DATA, _END_STREAM, self._stream, body)
        )
        self._stream += 2

    def _received(self, data: bytes) -> None:
        data, at = self._held + data, 0
        while len(data) >= at + 9:
            end = at + 9 + int.from_bytes(data[at : at + 3])
            if len(data) < end:
                break
            kind, flags = data[at + 3], data[at + 4]
            if kind == _HEADERS and flags & _END_STREAM:
                self._done()
            elif kind in (_PING, _SETTINGS) and not flags & _ACK:
                content = data[at + 9 : end] if kind == _PING else b""
                self._socket.send(frame(kind, _ACK, 0, content))
            elif kind in (_RST_STREAM, _GOAWAY):
                raise SystemExit(f"frame {kind}: {data[at:end]!r}")
            at = end
        self._held = data[at:]


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    """A frame of HTTP/2 (RFC 9113, section 4.1)."""
    return b"%b%c%c%b%b" % (len(content).to_bytes(3), kind, flags, stream.to_bytes(4), content)


def rpc_requests(tokens: Sequence[str]) -> tuple[list[bytes], list[bytes]]:
    """The blocks of fields and the bodies; a token is never put into the table."""
    encoder = Encoder()

    def block(token: str) -> bytes:
        fields = [
            (":method", "POST"), (":scheme", "http"), (":path", f"/{_SERVICE}/GetRecord"),
            (":authority", "bench"), ("content-type", "application/grpc"), ("te", "trailers"),
        ]  # fmt: skip
        plain = [(name, value, False) for name, value in fields]
        encoded: bytes = encoder.encode([*plain, ("authorization", f"Bearer {token}", True)])
        return encoded

    messages = [records_pb2.GetRecordRequest(id=each).SerializeToString() for each in _IDS]
    bodies = [b"\0" + len(message).to_bytes(4) + message for message in messages]
    return [block(token) for token in tokens], bodies


@dataclass(frozen=True)
class Row:
    """A row of the table: a server, and the protocol of its client."""

    title: str
    server: Callable[[TextIO], "AbstractAsyncContextManager[int]"]
    rpc: bool = False
    path: str = "/hello/42"
    status: int = 200


async def serve(row: Row, count: int, switch: ctypes.CDLL | None) -> None:
    """So many requests, after some that make the server warm; ``switch`` begins and ends."""
    tokens = new_tokens("bench", "records:read", secret=TEST_SECRET)[:16]
    paths = [f"/api/v1/records/{each}" for each in _IDS] if row.path == "record" else [row.path]
    requests = [
        f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer"
        f" {tokens[number % len(tokens)]}\r\n\r\n".encode()
        for number, path in enumerate(paths)
    ]
    blocks, bodies = rpc_requests(tokens)
    with Path("/dev/null").open("w") as null:  # noqa: ASYNC230 - no file
        async with row.server(null) as port, asyncio.timeout(_PATIENCE):
            answers = Answers()
            clients: list[Client] = [
                RpcClient(port, answers.one, blocks, bodies)
                if row.rpc
                else HttpClient(port, answers.one, requests, row.status)
                for _ in range(_CONNECTIONS)
            ]
            await asyncio.sleep(_ACCEPTED)
            tune_gc()  # as the service does when it is ready
            streams = _STREAMS if row.rpc else 1
            await in_rounds(clients, answers, streams, min(count, _WARM))
            if switch is not None:
                switch.begin()
            await in_rounds(clients, answers, streams, count)
            if switch is not None:
                switch.end()
            for client in clients:
                client.close()


class Answers:
    """Counts answers; `wait` returns when as many have come as it was told."""

    def __init__(self) -> None:
        self._left = 0
        self._all = asyncio.Event()

    def expect(self, count: int) -> None:
        """So many are to come."""
        self._left = count
        self._all.clear()

    def one(self) -> None:
        """One has come."""
        self._left -= 1
        if not self._left:
            self._all.set()

    async def wait(self) -> None:
        """Until all have come."""
        await self._all.wait()


async def in_rounds(clients: Sequence[Client], answers: Answers, streams: int, count: int) -> None:
    """Each client sends ``streams`` requests, then all are answered, and so on."""
    number = 0
    while number < count:
        answers.expect(len(clients) * streams)
        for client in clients:
            for _ in range(streams):
                client.send(number)
                number += 1
        await answers.wait()


async def get_record(
    _request: records_pb2.GetRecordRequest, _call: Call
) -> records_pb2.GetRecordResponse:
    """A constant."""
    return records_pb2.GetRecordResponse(record=records_pb2.Record(id=_IDS[0], name="record 1"))


@asynccontextmanager
async def unary_constant(null: TextIO) -> AsyncGenerator[int]:
    """One method without interceptors."""
    service = records_pb2.DESCRIPTOR.services_by_name["RecordService"]
    others = [method.name for method in service.methods if method.name != "GetRecord"]
    app = RpcApp()
    app.add(_SERVICE, {"GetRecord": unary(get_record, public=True)}, without=others)
    log = new_logger(stream=null, format="json")
    server = RpcServer(app, log, host="127.0.0.1", port=0)
    await server.start()
    yield server.port
    await server.stop()


@asynccontextmanager
async def service(name: str, null: TextIO, *, full: bool = False) -> AsyncGenerator[int]:
    """The service's own stack, with rows at hand; gives the port of that server."""

    def build(config: Config, wiring: Wiring) -> None:
        if full:
            wiring.shedder.admit()
        records = wiring.add(PgRecords(cast("Pool", Rows()), observer=wiring.observer))
        ingress = new_ingress(wiring, config)
        handled = RecordService(records, wiring.clock, uuid7)
        api = api_group(serve_http(wiring, config, ingress), "/api/v1", ingress)
        RecordHandler(handled).register(api)
        serve_grpc(wiring, config, ingress, RecordRpc(handled, updates))

    # Under valgrind everything is late, for which requests would be refused and connections ended.
    config = Config.model_validate(
        {
            "database_url": "postgresql://nobody@127.0.0.1/none", "jwt_secret": TEST_SECRET,
            "port": 0, "grpc_port": 0, "admin_port": 0, "rate_limit": 10_000_000, "shed_delay": 0,
            "grpc_connection_age": 0,
            "max_in_flight": 1 if full else 1024,
        }
    )  # fmt: skip
    log = new_logger(stream=null, format="json")
    made = ServiceSpec(name="bench", config=Config, build=build, scopes=SCOPES)
    process = wire(made, config, log, ProcessSpec(service="bench", version="1"))
    async with process.lifecycle:
        yield process.servers[name].port


async def updates(_request: object, _call: Call) -> AsyncGenerator[records_pb2.RecordUpdate]:
    """Nothing changes."""
    nothing: tuple[records_pb2.RecordUpdate, ...] = ()
    for each in nothing:
        yield each


ROWS: Final = {
    "floor": Row("the client, and a protocol that answers with ready bytes", floor),
    "raw": Row("raw ASGI function", lambda null: http(raw, null)),
    "typed": Row("typed route", lambda null: http(typed(), null)),
    "get": Row("GET by id, whole stack", lambda null: service("http", null), path="record"),
    "get-refused": Row(
        "GET by id, refused", lambda null: service("http", null, full=True), path="record",
        status=503,
    ),
    "unary": Row("gRPC unary, a constant, no interceptor", unary_constant, rpc=True),
    "rpc": Row("gRPC GetRecord, whole stack", lambda null: service("grpc", null), rpc=True),
    "rpc-refused": Row(
        "gRPC GetRecord, refused", lambda null: service("grpc", null, full=True), rpc=True
    ),
}  # fmt: skip


def run(name: str, count: int, *under: str | Path, switch: Path | None = None) -> str:
    """Serve in a process of its own; what it says on stderr."""
    done = subprocess.run(
        [*under, sys.executable, __file__, "--serve", name, str(count), str(switch or "")],
        env={"PYTHONHASHSEED": "0", "PATH": os.environ["PATH"]}, stderr=subprocess.PIPE,
        text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return done.stderr


def counted(name: str, *, show: bool = False) -> float:
    """Instructions of one request; ``show`` prints where they go."""
    with tempfile.TemporaryDirectory(prefix="paceline-") as folder:
        source, switch, out = (Path(folder) / each for each in ("switch.c", "switch.so", "out"))
        source.write_text(_SWITCH)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", switch, source], check=True)
        said = run(
            name, _COUNTED, "valgrind", "--tool=callgrind", "--instr-atstart=no",
            f"--callgrind-out-file={out}", switch=switch,
        )  # fmt: skip
        if show:
            subprocess.run(["callgrind_annotate", out], check=True)
    return int(re.findall(r"Collected : (\d+)", said)[-1]) / _COUNTED


def table(names: Sequence[str]) -> None:
    """Count the rows and print them, each as soon as it is known."""
    print("| | instructions a request | more than the floor |\n|---|---:|---:|", flush=True)
    base = None
    for name in names:
        found = counted(name)
        base = found if name == "floor" else base
        more = "" if base is None or name == "floor" else f"{found - base:,.0f}"
        print(f"| {ROWS[name].title} | {found:,.0f} | {more} |", flush=True)


def main() -> None:
    """Count and print, or serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", default=[], choices=[[], *ROWS])
    parser.add_argument("--functions", choices=[*ROWS], help="where the instructions go")
    parser.add_argument("--serve", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="a few requests, nothing counted")
    options = parser.parse_args()
    if options.serve:
        name, count, library = options.serve
        switch = ctypes.CDLL(library) if library else None
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(ROWS[name], int(count), switch))
    elif options.quick:
        for name in ROWS:
            run(name, _QUICK)
            print(f"{name} answers")
    elif options.functions:
        counted(options.functions, show=True)
    else:
        table(options.rows or list(ROWS))


if __name__ == "__main__":
    main()
