"""gRPC-Web and Connect on a real port: curl over both versions of HTTP, and clients that misbehave."""

import asyncio
import json
import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from http_wire import Answer, Client, until
from rpc_echo import (
    CHAT,
    COUNT,
    JOIN,
    SAY,
    Chat,
    Count,
    Join,
    Say,
    add_echo,
    chat,
    count,
    join,
    say,
)

from paceline.grpc import (
    Call,
    RpcApp,
    RpcLimits,
    RpcServer,
    add_health,
    add_reflection,
    interceptors,
)
from paceline.grpc.envelopes import envelope
from paceline.health import Health
from paceline.http.server import TlsFiles
from paceline.testing import CertificateAuthority, RecordingLog

pytestmark = pytest.mark.integration

PATIENCE = 10.0
CONNECT = "application/connect+json"


@dataclass
class Served:
    server: RpcServer
    app: RpcApp
    log: RecordingLog
    clients: list[Client] = field(default_factory=list[Client])

    @property
    def completed(self) -> list[tuple[object, object]]:
        """Methods and codes of the access log."""
        return [
            (fields["method"], fields["code"])
            for _, event, fields in self.log.lines
            if event == "call completed"
        ]

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.server.port))
        self.clients.append(client)
        return client

    async def start(self, path: str, kind: str, length: int | None = None) -> Client:
        """Send the head of a POST on a connection of its own."""
        client = await self.connect()
        framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
        client.send(
            f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: {kind}\r\n{framing}\r\n\r\n".encode()
        )
        return client

    async def post(self, path: str, kind: str, body: bytes) -> Answer:
        client = await self.start(path, kind, len(body))
        client.send(body)
        async with asyncio.timeout(PATIENCE):
            return await client.answer()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@asynccontextmanager
async def serving(
    say: Say = say,
    count: Count = count,
    *,
    join: Join = join,
    chat: Chat = chat,
    limits: RpcLimits | None = None,
    tls: TlsFiles | None = None,
) -> AsyncGenerator[Served]:
    log = RecordingLog()
    app = RpcApp(interceptors.access_log(log), interceptors.recover(log))
    add_echo(app, say, count, join=join, chat=chat)
    add_health(app, Health({}, log, draining=lambda: False))
    add_reflection(app)
    server = RpcServer(app, log, host="127.0.0.1", port=0, limits=limits, tls=tls)
    await server.start()
    served = Served(server, app, log)
    try:
        yield served
    finally:
        for client in served.clients:
            client.writer.close()
        await server.stop()


async def curl(*arguments: str | Path, body: bytes = b"") -> bytes:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")
    process = await asyncio.create_subprocess_exec(
        program, "--silent", "--show-error", "--max-time", "10", *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate(body)
    assert process.returncode == 0
    return said


VERSIONS = {"1.1": "--http1.1", "2": "--http2-prior-knowledge"}


@pytest.mark.parametrize("version", VERSIONS)
async def test_curl_calls_every_method(version: str) -> None:
    async with serving() as served:
        flags = (VERSIONS[version], "--data-binary", "@-", "--write-out", " %{http_version}")
        url = f"http://127.0.0.1:{served.server.port}"
        end = f" {version}".encode()

        async def called(path: str, kind: str, body: bytes) -> bytes:
            return await curl(*flags, "-H", f"content-type: {kind}", url + path, body=body)

        assert await called(SAY, "application/json", b'"hello"') == b'"HELLO"' + end
        two = envelope(0, b'"ab"') + envelope(0, b'"cd"')
        ended = envelope(2, b"{}") + end
        assert await called(COUNT, CONNECT, envelope(0, b'"1"')) == envelope(0, b'"0"') + ended
        assert await called(JOIN, CONNECT, two) == envelope(0, b'"ab cd"') + ended
        both = envelope(0, b'"ba"') + envelope(0, b'"dc"')
        assert await called(CHAT, CONNECT, two) == both + ended
        raw = envelope(0, StringValue(value="a").SerializeToString())
        web = await called(SAY, "application/grpc-web+proto", raw)
        assert web.endswith(b"grpc-status: 0\r\n" + end)
        health = await called("/grpc.health.v1.Health/Check", "application/json", b"{}")
        assert health == b'{"status":"SERVING"}' + end
        listed = await called(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            CONNECT, envelope(0, b'{"listServices": "*"}'),
        )  # fmt: skip
        assert b'"paceline.test.Echo"' in listed


async def test_a_call_over_tls(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    files = authority.issue("server")
    async with serving(tls=TlsFiles(files.certificate, files.key)) as served:
        for flag, version in (("--http1.1", "1.1"), ("--http2", "2")):
            said = await curl(
                flag, "--cacert", authority.file, "-H", "content-type: application/json",
                "--data", '"a"', "--write-out", " %{http_version}",
                f"https://localhost:{served.server.port}{SAY}",
            )  # fmt: skip
            assert said == f'"A" {version}'.encode()


async def test_calls_are_logged_like_those_of_grpc() -> None:
    async with serving() as served:
        assert (await served.post(SAY, "application/json", b'"a"')).status == 200
        assert (await served.post("/no.Such/Thing", "application/json", b"{}")).status == 404
        assert (await served.post(SAY, "application/json", b"{")).status == 400
        assert served.completed == [
        (SAY, "OK"), ("/no.Such/Thing", "UNIMPLEMENTED"), (SAY, "INVALID_ARGUMENT"),
    ]  # fmt: skip


async def test_a_message_that_is_too_large_is_refused_before_it_has_come() -> None:
    async with serving(limits=RpcLimits(max_message=1_000)) as served:
        client = await served.start(SAY, "application/json", 10_000_000)
        answer = await client.answer()
        assert (answer.status, json.loads(answer.body)["code"]) == (429, "resource_exhausted")
        client = await served.start(SAY, "application/grpc-web")
        client.send(chunk(b"\0\0\xff\xff\xff"))
        answer = await client.answer()
        assert answer.headers["grpc-status"] == "8"


async def test_a_request_that_does_not_end_holds_no_call() -> None:
    async with serving() as served:
        client = await served.start(SAY, "application/json", 10)
        client.send(b'"')
        assert (await served.post(SAY, "application/json", b'"a"')).status == 200
        assert served.app.in_flight == 0
        client.send(b'12345678"')
        assert (await client.answer()).status == 200


@pytest.mark.parametrize("kind", ["application/json", "application/grpc-web"])
async def test_a_message_that_takes_too_long_has_an_error_of_its_protocol(kind: str) -> None:
    async with serving(limits=RpcLimits(read_timeout=0.2)) as served:
        client = await served.start(SAY, kind, 10)
        client.send(b'"')
        answer = await client.answer()
        if kind == "application/json":
            assert answer.headers["content-type"] == "application/json"
            assert (answer.status, json.loads(answer.body)) == (
                504,
                {"code": "deadline_exceeded", "message": "the request took too long to arrive"},
            )
        else:
            assert (answer.status, answer.headers["grpc-status"]) == (200, "4")
        await until(lambda: len(served.completed) == 1)
        assert served.completed == [(SAY, "DEADLINE_EXCEEDED")]
        assert served.log.events("error") == []


async def test_a_client_that_leaves_cancels_its_handler() -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    async def held(request: StringValue, call: Call) -> StringValue:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        return request

    async with serving(held) as served:
        client = await served.start(SAY, "application/json", 3)
        client.send(b'"a"')
        async with asyncio.timeout(PATIENCE):
            await entered.wait()
            client.writer.close()
            await left.wait()
            await until(lambda: served.app.in_flight == 0)
        assert served.completed == [(SAY, "CANCELLED")]


async def test_a_client_that_does_not_read_holds_its_stream_back() -> None:
    produced = 0
    held = asyncio.Event()

    async def much(request: StringValue, call: Call) -> AsyncGenerator[StringValue, None]:
        nonlocal produced
        try:
            while True:
                produced += 1
                yield StringValue(value="x" * 100_000)
        finally:
            held.set()

    async with serving(count=much) as served:
        client = await served.start(COUNT, CONNECT, 8)
        client.send(envelope(0, b'"1"'))
        await client.head()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        before = -1
        async with asyncio.timeout(PATIENCE):
            while before != produced:  # until nothing more is produced
                before = produced
                await asyncio.sleep(0.2)
        assert produced < 200
        client.writer.transport.abort()
        async with asyncio.timeout(PATIENCE):
            await held.wait()


async def test_a_handler_that_does_not_read_holds_its_client_back() -> None:
    go = asyncio.Event()

    async def slow(requests: AsyncIterator[StringValue], call: Call) -> StringValue:
        await go.wait()
        sizes = [len(request.value) async for request in requests]
        return StringValue(value=str(sum(sizes)))

    async with serving(join=slow) as served:
        client = await served.start(JOIN, CONNECT)
        message = chunk(envelope(0, b'"%b"' % (b"x" * 100_000)))

        async def send() -> None:
            for _ in range(200):
                client.send(message)
                await client.writer.drain()
            client.send(b"0\r\n\r\n")

        sending = asyncio.create_task(send())
        done, _ = await asyncio.wait({sending}, timeout=0.5)
        assert not done
        go.set()
        answer = await client.answer()
        await sending
    assert answer.body == envelope(0, b'"20000000"') + envelope(2, b"{}")


async def test_messages_are_answered_while_the_request_goes_on() -> None:
    async with serving() as served:
        client = await served.start(CHAT, CONNECT)
        client.send(chunk(envelope(0, b'"ab"')))
        await client.head()
        async with asyncio.timeout(PATIENCE):
            assert await client.reader.readexactly(len(chunk(envelope(0, b'"ba"')))) == chunk(
                envelope(0, b'"ba"')
            )
            client.send(chunk(envelope(0, b'"cd"')) + b"0\r\n\r\n")
            assert b'"dc"' in await client.reader.readuntil(b"0\r\n\r\n")


async def test_streams_end_with_unavailable_when_the_server_stops() -> None:
    entered = asyncio.Event()

    async def endless(request: StringValue, call: Call) -> AsyncGenerator[StringValue, None]:
        yield request
        entered.set()
        await asyncio.Event().wait()

    async with serving(count=endless) as served:
        client = await served.start(COUNT, CONNECT, 8)
        client.send(envelope(0, b'"1"'))
        async with asyncio.timeout(PATIENCE):
            await entered.wait()
            stopping = asyncio.create_task(served.server.stop())
            answer = await client.answer()
            await stopping
    assert b'"unavailable"' in answer.body
