"""A server on a real socket, and a client that sends exactly the given bytes."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from paceline.http.asgi import ASGIApp, Receive, Scope, Send
from paceline.http.server import AdmissionCheck, HttpServer, ServerLimits, TlsFiles
from paceline.testing import RecordingLog

PATIENCE = 10.0
"""Seconds after which a test fails, so that a server that hangs does not hang the suite."""

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> Answer:
        """Read a status line and headers."""
        async with asyncio.timeout(PATIENCE):
            text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = text.removesuffix("\r\n\r\n").split("\r\n")
        headers = dict(field.split(": ", 1) for field in fields)
        assert len(headers) == len(fields)
        return Answer(int(line.split(" ", 2)[1]), headers, b"")

    async def answer(self, *, bodiless: bool = False) -> Answer:
        """Read one whole response."""
        answer = await self.head()
        if bodiless:
            return answer
        if "content-length" in answer.headers:
            answer.body = await self.reader.readexactly(int(answer.headers["content-length"]))
        elif "transfer-encoding" in answer.headers:
            while size := int(await self.reader.readline(), 16):
                answer.body += (await self.reader.readexactly(size + 2))[:-2]
            assert await self.reader.readline() == b"\r\n"
        else:
            answer.body = await self.reader.read()
        return answer

    async def request(self, data: bytes) -> Answer:
        self.send(data)
        return await self.answer()

    async def read_to_end(self) -> bytes:
        """Everything up to the end of the connection, also when it was reset."""
        data = b""
        with suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                while piece := await self.reader.read(65536):
                    data += piece
        return data


@dataclass
class Served:
    server: HttpServer
    log: RecordingLog
    clients: list[Client] = field(default_factory=list[Client])

    async def connect(self, tls: ssl.SSLContext | None = None) -> Client:
        """Connect; with ``tls``, to "localhost" by TLS."""
        name = None if tls is None else "localhost"
        client = Client(
            *await asyncio.open_connection(
                "127.0.0.1", self.server.port, ssl=tls, server_hostname=name
            )
        )
        self.clients.append(client)
        return client

    async def request(self, data: bytes) -> Answer:
        """Send ``data`` on a connection of its own and read one response."""
        return await (await self.connect()).request(data)


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop run until ``condition`` holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)


def open_sockets() -> set[str]:
    """The sockets of this process, where the system lists them."""
    found: set[str] = set()
    for path in Path("/proc/self/fd").glob("*"):
        with suppress(FileNotFoundError):  # the one that lists them
            found.add(str(path.readlink()))
    return {link for link in found if link.startswith("socket:")}


def make_server(
    app: ASGIApp,
    log: RecordingLog,
    limits: ServerLimits | None = None,
    *,
    admission_check: AdmissionCheck | None = None,
    tls: TlsFiles | None = None,
) -> HttpServer:
    return HttpServer(
        app,
        log,
        host="127.0.0.1",
        port=0,
        limits=limits,
        admission_check=admission_check,
        tls=tls,
    )


@asynccontextmanager
async def serving(
    app: ASGIApp,
    limits: ServerLimits | None = None,
    *,
    admission_check: AdmissionCheck | None = None,
    tls: TlsFiles | None = None,
) -> AsyncGenerator[Served, None]:
    """Serve ``app``; afterwards no task and no socket of the server may be left."""
    before = asyncio.all_tasks()
    sockets = open_sockets()
    log = RecordingLog()
    served = Served(make_server(app, log, limits, admission_check=admission_check, tls=tls), log)
    await served.server.start()
    try:
        yield served
    finally:
        await served.server.stop()
        for client in served.clients:
            client.writer.close()
            with suppress(OSError):  # TLS's are others than ConnectionError
                await client.writer.wait_closed()
    assert not {task for task in asyncio.all_tasks() - before if not task.done()}
    assert open_sockets() <= sockets


async def send_answer(
    send: Send, body: bytes = b"ok", status: int = 200, *headers: tuple[bytes, bytes]
) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def read_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("disconnected")
        piece: bytes = message["body"]
        body += piece
        if not message["more_body"]:
            return body


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without reading the request."""
    await send_answer(send)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the request: method, raw path, query, body."""
    body = await read_body(receive)
    line = b" ".join((scope["method"].encode(), scope["raw_path"], scope["query_string"], body))
    await send_answer(send, line)


@dataclass
class Held:
    """An app that waits until it is released, and records what happens to it."""

    entered: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: int = 0
    calls: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        self.entered.set()
        try:
            await self.release.wait()
            await send_answer(send)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.ended.set()
