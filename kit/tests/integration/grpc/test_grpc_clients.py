"""What grpcio's clients, sync and aio, do with calls beyond the plain ones."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc import aio
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
from rpc_wire import both, gathered, many, one

from paceline.errors import Code, Error
from paceline.grpc import Call, RpcApp, RpcLimits, RpcServer, interceptors
from paceline.http.server import TlsFiles
from paceline.testing import CertificateAuthority, RecordingLog

pytestmark = pytest.mark.integration

PATIENCE = 10.0


def message(text: str) -> bytes:
    return StringValue(value=text).SerializeToString()


def text_of(raw: bytes) -> str:
    return StringValue.FromString(raw).value


@asynccontextmanager
async def serving(
    say: Say = say, count: Count = count, *, join: Join = join, chat: Chat = chat
) -> AsyncGenerator[RpcServer]:
    log = RecordingLog()
    app = RpcApp(interceptors.recover(log), interceptors.deadline(30))
    add_echo(app, say, count, join=join, chat=chat)
    server = RpcServer(
        app, log, host="127.0.0.1", port=0, limits=RpcLimits(max_message=8 * 1024 * 1024)
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def channel_to(server: RpcServer, compression: grpc.Compression | None = None) -> aio.Channel:
    return aio.insecure_channel(f"127.0.0.1:{server.port}", compression=compression)


async def asked(*texts: str) -> AsyncIterator[bytes]:
    for text in texts:
        yield message(text)


async def test_many_messages_have_one_answer() -> None:
    async with serving() as server, channel_to(server) as channel:
        words = [f"{number:05}" for number in range(2_000)]
        assert text_of(await gathered(channel, JOIN)(asked(*words))) == " ".join(words)


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_messages_are_compressed_in_both_directions(compression: grpc.Compression) -> None:
    compressed: list[bool] = []

    async def squeezed(request: StringValue, call: Call) -> StringValue:
        compressed.append(call.received_compressed)
        call.compress()
        return request

    async def each(
        requests: AsyncIterator[StringValue], call: Call
    ) -> AsyncGenerator[StringValue, None]:
        call.compress()
        async for request in requests:
            compressed.append(call.received_compressed)
            yield request

    text = "long" * 100_000
    async with (
        serving(squeezed, chat=each) as server,
        channel_to(server, compression) as channel,
    ):
        assert text_of(await one(channel, SAY)(message(text))) == text
        answers = [text_of(raw) async for raw in both(channel, CHAT)(asked(text, text))]
        assert answers == [text, text]
    assert compressed == [True] * 3


async def test_metadata_goes_both_ways() -> None:
    async def echo(request: StringValue, call: Call) -> StringValue:
        call.initial = [("x-initial", call.metadata["x-text"])]
        call.trailing = [("x-trailing-bin", call.metadata["x-data-bin"])]
        return request

    async with serving(echo) as server, channel_to(server) as channel:
        call = one(channel, SAY)(
            message("a"), metadata=(("x-text", "a b"), ("x-data-bin", b"\0\xff"))
        )
        await call
        assert ("x-initial", "a b") in tuple(await call.initial_metadata() or ())
        assert ("x-trailing-bin", b"\0\xff") in tuple(await call.trailing_metadata() or ())


async def test_large_messages_go_both_ways_through_small_windows() -> None:
    text = "x" * 3_000_000
    async with serving() as server:
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.http2.lookahead_bytes", 65_535),
            ("grpc.http2.bdp_probe", 0),
        ]
        address = f"127.0.0.1:{server.port}"
        async with aio.insecure_channel(address, options=options) as channel:
            answers = await asyncio.gather(*[one(channel, SAY)(message(text)) for _ in range(4)])
        assert all(text_of(raw) == text.upper() for raw in answers)


async def test_a_stream_ends_at_its_clients_deadline() -> None:
    ended = asyncio.Event()

    async def endless(request: StringValue, call: Call) -> AsyncGenerator[StringValue, None]:
        try:
            yield request
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serving(count=endless) as server, channel_to(server) as channel:
        call = many(channel, COUNT)(message("a"), timeout=0.2)
        with pytest.raises(aio.AioRpcError) as caught:
            async for _ in call:
                pass
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        async with asyncio.timeout(PATIENCE):
            await ended.wait()


@pytest.mark.parametrize(
    "text", ["\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n", "100 %"]
)
async def test_the_text_of_an_error_arrives_as_it_is(text: str) -> None:
    async def fail(request: StringValue, call: Call) -> StringValue:
        raise Error(Code.UNKNOWN, text)

    async with serving(fail) as server, channel_to(server) as channel:
        with pytest.raises(aio.AioRpcError) as caught:
            await one(channel, SAY)(message(""))
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNKNOWN, text)


async def test_the_sync_client_makes_calls_of_every_kind() -> None:
    def requests() -> Iterator[bytes]:
        yield from map(message, ("ab", "cd"))

    def run(address: str) -> list[list[str]]:
        with grpc.insecure_channel(address) as channel:
            one_to_one: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SAY)
            to_many: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(COUNT)
            to_one: grpc.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(JOIN)
            both_ways: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(CHAT)
            return [
                [text_of(one_to_one(message("a"), timeout=PATIENCE))],
                [text_of(raw) for raw in to_many(message("3"), timeout=PATIENCE)],
                [text_of(to_one(requests(), timeout=PATIENCE))],
                [text_of(raw) for raw in both_ways(requests(), timeout=PATIENCE)],
            ]

    async with serving() as server:
        found = await asyncio.to_thread(run, f"127.0.0.1:{server.port}")
    assert found == [["A"], ["0", "1", "2"], ["ab cd"], ["ba", "dc"]]


async def test_calls_go_over_tls(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    files = authority.issue("server")
    server = RpcServer(
        add_echo(RpcApp()),
        RecordingLog(),
        host="127.0.0.1",
        port=0,
        tls=TlsFiles(files.certificate, files.key),
    )
    await server.start()
    try:
        credentials = grpc.ssl_channel_credentials(authority.file.read_bytes())
        async with aio.secure_channel(f"localhost:{server.port}", credentials) as channel:
            assert text_of(await one(channel, SAY)(message("a"))) == "A"
    finally:
        await server.stop()


async def test_a_client_of_http_1_is_told_what_the_port_speaks() -> None:
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"this port speaks gRPC" in answer
