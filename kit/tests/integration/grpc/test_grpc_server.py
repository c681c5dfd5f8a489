"""The gRPC server on a real socket, with grpcio's own client."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc import aio
from rpc_echo import CHAT, COUNT, JOIN, SAY, Count, Say, add_echo, count, say
from rpc_wire import both, gathered, many, one

from paceline.concurrency.deadline import fail_after
from paceline.errors import Code, Error, NotFound
from paceline.grpc import interceptors
from paceline.grpc.app import AdmissionCheck, RpcApp
from paceline.grpc.call import Call
from paceline.grpc.interceptors import PreAdmission
from paceline.grpc.limits import RpcLimits
from paceline.grpc.server import RpcServer
from paceline.resilience import Admission, LoadShedder, Priority
from paceline.testing import ManualClock, RecordingLog

pytestmark = pytest.mark.integration

HOST = "127.0.0.1"
PATIENCE = 10.0


@dataclass
class HeldHandler:
    """A handler that waits for ``open``, with events for its start and its cancellation."""

    entered: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def say(self, request: StringValue, call: Call) -> StringValue:
        self.entered.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return StringValue(value="through")

    async def count(self, request: StringValue, call: Call) -> AsyncGenerator[StringValue, None]:
        yield StringValue(value="first")
        yield await self.say(request, call)


@dataclass
class Client:
    """A channel to the server, with the echo's methods."""

    channel: aio.Channel
    log: RecordingLog
    server: RpcServer
    app: RpcApp

    def say(
        self, text: str, timeout: float | None = PATIENCE
    ) -> "aio.UnaryUnaryCall[bytes, bytes]":
        request = StringValue(value=text).SerializeToString()
        return one(self.channel, SAY)(request, timeout=timeout)

    def count(self, text: str) -> "aio.UnaryStreamCall[bytes, bytes]":
        return many(self.channel, COUNT)(StringValue(value=text).SerializeToString())

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.005)


LIMITS = RpcLimits(max_calls=20_000, max_connection_streams=20_000)


@asynccontextmanager
async def serving(
    say: Say = say,
    count: Count = count,
    *,
    max_streams: int = 100,
    limits: RpcLimits = LIMITS,
    admission_check: AdmissionCheck | None = None,
) -> AsyncGenerator[Client]:
    log = RecordingLog()
    app = RpcApp(
        interceptors.access_log(log),
        interceptors.recover(log),
        interceptors.deadline(30),
        max_streams=max_streams,
        admission_check=admission_check,
    )
    server = RpcServer(
        add_echo(app, say, count),
        log,
        host=HOST,
        port=0,
        limits=limits,
    )
    await server.start()
    try:
        async with aio.insecure_channel(f"{HOST}:{server.port}") as channel:
            yield Client(channel, log, server, app)
    finally:
        await server.stop()


def text_of(raw: bytes) -> str:
    return StringValue.FromString(raw).value


async def code_of(call: "aio.UnaryUnaryCall[bytes, bytes]") -> grpc.StatusCode:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value.code()


async def test_each_kind_of_method_is_served() -> None:
    async with serving() as client:
        assert text_of(await client.say("a")) == "A"
        assert [text_of(raw) async for raw in client.count("3")] == ["0", "1", "2"]
        chat = both(client.channel, CHAT)(asked("ab", "cd"))
        assert [text_of(raw) async for raw in chat] == ["ba", "dc"]
        assert client.log.events("info") == ["call completed"] * 3
        assert client.app.in_flight == 0


async def asked(*texts: str) -> AsyncIterator[bytes]:
    for text in texts:
        yield StringValue(value=text).SerializeToString()


async def test_an_unknown_method_is_refused_and_logged() -> None:
    async with serving() as client:
        assert await code_of(one(client.channel, "/no.Such/Thing")(b"")) is (
            grpc.StatusCode.UNIMPLEMENTED
        )
        assert [fields["method"] for _, _, fields in client.log.lines] == ["/no.Such/Thing"]


async def test_a_refusal_reaches_a_client_that_is_sending() -> None:
    """Its first message: in the middle of many, grpcio's client loses any server's answer."""
    async with serving() as client:
        for _ in range(10):
            with pytest.raises(aio.AioRpcError) as caught:
                async for _ in both(client.channel, "/no.Such/Thing")(asked("x")):
                    pass
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("kind", ["no room", "too many calls"])
async def test_what_is_refused_before_there_is_a_call_has_its_own_status(kind: str) -> None:
    """An aio client of grpcio says INTERNAL of an answer that comes before its first message."""
    shedder = LoadShedder(ManualClock(), RecordingLog(), max_in_flight=1, target_delay=0)
    check = PreAdmission(Admission(shedder, "grpc"), lambda _: Priority.READ)
    permit = shedder.admit() if kind == "no room" else None
    limits = replace(LIMITS, max_calls=0) if kind == "too many calls" else LIMITS
    codes: Counter[grpc.StatusCode] = Counter()
    async with serving(limits=limits, admission_check=check) as client:
        for number in range(60):
            make = (both, gathered)[number % 2]
            call = make(client.channel, (CHAT, JOIN)[number % 2])(asked("x"))
            codes[await call.code()] += 1
    if permit is not None:
        permit.release()
    assert codes == {grpc.StatusCode.RESOURCE_EXHAUSTED: 60}


async def test_a_bug_shows_a_fixed_text() -> None:
    async def broken(request: StringValue, call: Call) -> StringValue:
        raise RuntimeError("hunter2")

    async with serving(broken) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.say("x")
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert caught.value.details() == "internal error"
        assert client.log.events("error") == ["call failed"]


async def test_a_stream_that_fails_in_the_middle_keeps_what_came_before() -> None:
    async def torn(request: StringValue, call: Call) -> AsyncGenerator[StringValue, None]:
        yield StringValue(value="first")
        raise NotFound("no more")

    async with serving(count=torn) as client:
        call = client.count("")
        assert text_of(await anext(aiter(call))) == "first"
        with pytest.raises(aio.AioRpcError) as caught:
            await anext(aiter(call))
        assert (caught.value.code(), caught.value.details()) == (
            grpc.StatusCode.NOT_FOUND,
            "no more",
        )


async def test_bytes_that_are_no_message_are_invalid_argument() -> None:
    async with serving() as client:
        call = one(client.channel, SAY)(b"\xff\xff\xff")
        assert await code_of(call) is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_message_that_is_too_large_is_refused_and_the_connection_stays() -> None:
    async with serving(limits=replace(LIMITS, max_message=1000)) as client:
        assert await code_of(client.say("x" * 1001)) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert text_of(await client.say("x" * 900)) == "X" * 900


async def test_a_client_that_disconnects_stops_the_work() -> None:
    held = HeldHandler()
    async with serving(held.say) as client:
        call = client.say("x")
        async with asyncio.timeout(PATIENCE):
            await held.entered.wait()
            call.cancel()
            await held.cancelled.wait()
        await client.until(lambda: bool(client.log.lines))
        assert client.log.lines[0][2]["code"] == "CANCELLED"
        assert client.log.events("error") == []


async def test_a_client_that_cancels_a_stream_stops_its_generator() -> None:
    held = HeldHandler()
    async with serving(count=held.count) as client:
        call = client.count("")
        assert text_of(await anext(aiter(call))) == "first"
        async with asyncio.timeout(PATIENCE):
            await held.entered.wait()
            call.cancel()
            await held.cancelled.wait()
        await client.until(lambda: len(client.app.streams) == 0)
        assert client.log.events("error") == []


async def test_a_deadline_of_the_client_stops_the_work() -> None:
    held = HeldHandler()
    async with serving(held.say) as client:
        assert await code_of(client.say("x", timeout=0.1)) is grpc.StatusCode.DEADLINE_EXCEEDED
        async with asyncio.timeout(PATIENCE):
            await held.cancelled.wait()
        await client.until(lambda: "call completed" in client.log.events("info"))
        codes = [
            fields["code"] for _, event, fields in client.log.lines if event == "call completed"
        ]
        assert codes == ["DEADLINE_EXCEEDED"]


async def test_a_client_that_does_not_read_holds_its_generator_back() -> None:
    made = 0

    async def endless(request: StringValue, call: Call) -> AsyncGenerator[StringValue, None]:
        nonlocal made
        while True:
            made += 1
            yield StringValue(value="x" * 10_000)

    # grpcio lets its window grow by megabytes while a server is fast.
    fixed = [("grpc.http2.bdp_probe", 0)]
    async with (
        serving(count=endless) as client,
        aio.insecure_channel(f"{HOST}:{client.server.port}", options=fixed) as channel,
    ):
        call = many(channel, COUNT)(b"")
        assert len(await anext(aiter(call))) > 10_000
        before = -1
        while made != before:  # until flow control holds it
            before = made
            await asyncio.sleep(0.3)
        assert made < 1_000, "10 MB would be a buffer, not flow control"
        call.cancel()


async def test_clients_that_disconnect_during_writes_are_no_failure() -> None:
    async def endless(request: StringValue, call: Call) -> AsyncGenerator[StringValue, None]:
        while True:
            yield StringValue(value="x" * 1_000)

    async with serving(count=endless) as client:
        for _ in range(30):
            async with aio.insecure_channel(f"{HOST}:{client.server.port}") as channel:
                call = many(channel, COUNT)(b"")
                for _ in range(5):
                    await anext(aiter(call))
        await client.until(lambda: client.app.in_flight == 0)
        codes = {
            fields["code"] for _, event, fields in client.log.lines if event == "call completed"
        }
        assert codes == {"CANCELLED"}
        assert client.log.events("error") == []


async def test_streams_beyond_the_limit_are_refused_and_the_server_goes_on() -> None:
    held = HeldHandler()
    async with serving(count=held.count, max_streams=50) as client:
        calls: list[aio.UnaryStreamCall[bytes, bytes]] = []
        outcomes: list[grpc.StatusCode | None] = []

        async def first(call: "aio.UnaryStreamCall[bytes, bytes]") -> grpc.StatusCode | None:
            try:
                await anext(aiter(call))
            except aio.AioRpcError as exc:
                return exc.code()
            return None

        for _ in range(250):  # in portions, for client and server share this event loop
            portion = [client.count("") for _ in range(40)]
            calls += portion
            outcomes += await asyncio.gather(*map(first, portion))
        assert outcomes.count(None) == 50
        assert outcomes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 9_950
        assert text_of(await one(client.channel, SAY)(b"")) == ""
        for call in calls[:50]:
            call.cancel()
        await client.until(lambda: len(client.app.streams) == 0)


async def test_calls_beyond_the_limit_are_refused() -> None:
    held = HeldHandler()
    async with serving(held.say, limits=replace(LIMITS, max_calls=2)) as client:
        calls = [client.say("x") for _ in range(2)]
        await client.until(lambda: client.app.in_flight == 2)
        assert await code_of(client.say("x")) is grpc.StatusCode.RESOURCE_EXHAUSTED
        held.open.set()
        assert [text_of(await call) for call in calls] == ["through"] * 2


# --- start and stop


async def test_a_stop_finishes_unary_calls_and_ends_streams() -> None:
    held, log = HeldHandler(), RecordingLog()
    held_stream = HeldHandler()
    async with serving(held.say, held_stream.count) as client:
        unary, stream = client.say("x"), client.count("")
        assert text_of(await anext(aiter(stream))) == "first"
        await held.entered.wait()
        stopping = asyncio.create_task(client.server.stop())
        with pytest.raises(aio.AioRpcError) as caught:
            await anext(aiter(stream))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "shutting down" in (caught.value.details() or "")
        assert held_stream.cancelled.is_set()
        assert not stopping.done()
        held.open.set()
        assert text_of(await unary) == "through"
        async with asyncio.timeout(PATIENCE):
            await stopping
        assert log.events("error") == []


async def test_a_stop_cuts_off_what_outlives_its_deadline_and_counts_it() -> None:
    held = HeldHandler()
    async with serving(held.say) as client:
        unary = client.say("x")
        await held.entered.wait()
        with pytest.raises(Error, match="1 calls in flight were cut off") as caught:
            async with fail_after(0.4, "stop"):
                await client.server.stop()
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        assert await code_of(unary) in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        await held.cancelled.wait()


async def test_a_stop_does_not_wait_for_a_client_that_does_not_read() -> None:
    async def endless(request: StringValue, call: Call) -> AsyncGenerator[StringValue, None]:
        while True:
            yield StringValue(value="x" * 100_000)

    async with serving(count=endless) as client:
        call = client.count("")
        await anext(aiter(call))
        async with asyncio.timeout(3):
            await client.server.stop()


async def test_a_cancelled_stop_closes_all_the_same() -> None:
    held = HeldHandler()
    async with serving(held.say) as client:
        unary = client.say("x")
        await held.entered.wait()
        stopping = asyncio.create_task(client.server.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert await code_of(unary) in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


async def test_start_and_stop_may_be_repeated_and_stop_may_come_first() -> None:
    server = RpcServer(add_echo(RpcApp()), RecordingLog(), host=HOST, port=0)
    await server.stop()
    for _ in range(20):
        await server.start()
        await server.start()
        port = server.port
        assert port > 0
        async with aio.insecure_channel(f"{HOST}:{port}") as channel:
            raw = await one(channel, SAY)(StringValue(value="a").SerializeToString())
            assert text_of(raw) == "A"
        await server.stop()
        await server.stop()
        assert server.port == 0


async def test_a_port_in_use_is_named() -> None:
    async with serving() as client:
        other = RpcServer(RpcApp(), RecordingLog(), host=HOST, port=client.server.port)
        with pytest.raises(Error, match="choose another port") as caught:
            await other.start()
        assert caught.value.code is Code.FAILED_PRECONDITION
        await other.stop()
