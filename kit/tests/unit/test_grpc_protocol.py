"""gRPC over HTTP/2, rule by rule, on a stream without a connection."""

import asyncio
import zlib
from base64 import b64decode
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, replace

import pytest
from fake_stream import FakeStream, framed, until
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc.status_pb2 import Status
from rpc_echo import CHAT, COUNT, JOIN, SAY, add_echo

from paceline.errors import Code, Error
from paceline.grpc import Call, RpcApp, RpcLimits, interceptors
from paceline.grpc.app import AdmissionCheck
from paceline.grpc.call import Endpoint, Interceptor, Method
from paceline.grpc.interceptors import PreAdmission
from paceline.grpc.status import UNKNOWN_ERROR
from paceline.resilience import Admission, LoadShedder, Priority
from paceline.testing import ManualClock, RecordingLog

GRPC = (b"content-type", b"application/grpc")
GZIP, DEFLATE = 31, 15
MAX = 1000


def text(value: str) -> bytes:
    return StringValue(value=value).SerializeToString()


def packed(message: bytes, bits: int) -> bytes:
    packer = zlib.compressobj(wbits=bits)
    return packer.compress(message) + packer.flush()


def new_app(*wraps: Interceptor, admission_check: AdmissionCheck | None = None) -> RpcApp:
    app = add_echo(RpcApp(*wraps, admission_check=admission_check))
    app.limits = RpcLimits(max_message=MAX)
    return app


def request(path: str, *fields: tuple[bytes, bytes]) -> FakeStream:
    return FakeStream(path.encode(), [GRPC, (b"te", b"trailers"), *fields])


def texts_of(stream: FakeStream) -> list[str]:
    return [StringValue.FromString(message).value for _, message in stream.messages]


# --- an answer


@pytest.mark.parametrize(
    ("path", "sent", "answers"),
    [
        (SAY, ["a"], ["A"]),
        (COUNT, ["3"], ["0", "1", "2"]),
        (COUNT, ["0"], []),
        (JOIN, ["a", "b"], ["a b"]),
        (JOIN, [], [""]),
        (CHAT, ["ab", "cd"], ["ba", "dc"]),
        (CHAT, [], []),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 7, 1000], ids="by {}".format)
async def test_messages_are_the_same_however_they_are_cut_into_frames(
    path: str, sent: list[str], answers: list[str], size: int
) -> None:
    body = b"".join(framed(text(value)) for value in sent)
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    app = new_app()
    stream = await request(path).open(app, *parts).answer()
    assert (texts_of(stream), stream.status) == (answers, {b"grpc-status": b"0"})
    assert stream.head == {b":status": b"200", b"content-type": b"application/grpc"}
    assert stream.consumed == len(body)
    await until(lambda: app.in_flight == 0)


@pytest.mark.parametrize("subtype", [b"", b"+proto", b"; charset=utf-8", b"+proto;x=y"])
async def test_the_content_type_may_name_protobuf(subtype: bytes) -> None:
    kind = b"application/grpc" + subtype
    stream = FakeStream(SAY.encode(), [(b"content-type", kind)]).open(new_app(), framed(text("a")))
    assert texts_of(await stream.answer()) == ["A"]
    assert stream.head[b"content-type"] == kind.partition(b";")[0]


# --- what is refused without a call


@dataclass(frozen=True)
class Refused:
    id: str
    says: str
    code: Code
    content_type: bytes = b"application/grpc"
    method: str = "POST"
    fields: tuple[tuple[bytes, bytes], ...] = ()
    status: bytes = b"200"


@pytest.mark.parametrize("case", [
    Refused("GET", "a POST request", Code.INTERNAL, method="GET", status=b"405"),
    Refused("JSON", "messages are protobuf", Code.UNIMPLEMENTED, content_type=b"application/grpc+json", status=b"415"),
    Refused("a timeout of 9 digits", "grpc-timeout is malformed", Code.INTERNAL, fields=((b"grpc-timeout", b"123456789S"),)),
    Refused("a timeout without a unit", "grpc-timeout is malformed", Code.INTERNAL, fields=((b"grpc-timeout", b"12"),)),
    Refused("a unit that is none", "grpc-timeout is malformed", Code.INTERNAL, fields=((b"grpc-timeout", b"12s"),)),
    Refused("a negative timeout", "grpc-timeout is malformed", Code.INTERNAL, fields=((b"grpc-timeout", b"-1S"),)),
    Refused("an empty timeout", "grpc-timeout is malformed", Code.INTERNAL, fields=((b"grpc-timeout", b""),)),
    Refused("an unknown encoding", "grpc-encoding snappy is not known", Code.UNIMPLEMENTED, fields=((b"grpc-encoding", b"snappy"),)),
], ids=lambda case: case.id)  # fmt: skip
async def test_a_request_that_is_no_call_is_answered_without_a_task(case: Refused) -> None:
    headers = [(b"content-type", case.content_type), *case.fields]
    stream = FakeStream(SAY.encode(), headers, method=case.method).open(
        new_app(), framed(text("a"))
    )
    assert (stream.code, stream.status[b":status"]) == (case.code, case.status)
    assert case.says in stream.status[b"grpc-message"].decode()
    assert stream.task is None
    if case.id == "an unknown encoding":
        assert stream.status[b"grpc-accept-encoding"] == b"identity, deflate, gzip"


@pytest.mark.parametrize(
    "kind", [b"", b"application/json", b"application/grpc-web", b"application/grpcx", b"text/html"]
)
def test_other_requests_are_not_taken(kind: bytes) -> None:
    stream = FakeStream(SAY.encode(), [(b"content-type", kind)])
    assert new_app().open(stream) is None
    assert not stream.blocks


# --- what is refused as a call


BOMB = packed(b"\0" * 10_000_000, GZIP)


@dataclass(frozen=True)
class Broken:
    id: str
    body: bytes
    code: Code
    says: str
    encoding: bytes = b"identity"


ONE = framed(text("a"))
BROKEN = [
    Broken("too large", b"\0" + (MAX + 1).to_bytes(4, "big"), Code.RESOURCE_EXHAUSTED, "the message has 1001 bytes, more than 1000 (max_message)"),
    Broken("4 GiB", b"\0\xff\xff\xff\xff", Code.RESOURCE_EXHAUSTED, "the message has 4294967295 bytes"),
    Broken("cut short in the prefix", b"\0\0", Code.INVALID_ARGUMENT, "the request ends within a message"),
    Broken("cut short in the message", ONE[:-1], Code.INVALID_ARGUMENT, "the request ends within a message"),
    Broken("compressed without an encoding", framed(text("a"), compressed=1), Code.INTERNAL, "marked as compressed, without an encoding"),
    Broken("a flag that is none", framed(text("a"), compressed=2), Code.INVALID_ARGUMENT, "the flags 0x02", encoding=b"gzip"),
    Broken("no gzip", framed(b"no", compressed=1), Code.INTERNAL, "cannot be decompressed by gzip", encoding=b"gzip"),
    Broken("a part of gzip", framed(packed(text("a"), GZIP)[:-3], compressed=1), Code.INTERNAL, "cannot be decompressed", encoding=b"gzip"),
    Broken("gzip and more", framed(packed(text("a"), GZIP) + b"x", compressed=1), Code.INTERNAL, "cannot be decompressed", encoding=b"gzip"),
    Broken("no message", framed(b"\xff\xff"), Code.INVALID_ARGUMENT, "the request is not a google.protobuf.StringValue"),
]  # fmt: skip
ONLY_ONE = [
    Broken("none", b"", Code.UNIMPLEMENTED, "takes one message, and none came"),
    Broken("two", ONE + ONE, Code.UNIMPLEMENTED, "takes one message, and more came"),
    Broken("one and a byte", ONE + b"\0", Code.UNIMPLEMENTED, "takes one message, and more came"),
]  # fmt: skip


@pytest.mark.parametrize("size", [1, 10_000], ids="by {}".format)
@pytest.mark.parametrize(
    ("path", "case"),
    [(path, case) for path in (SAY, JOIN, CHAT) for case in BROKEN]
    + [(path, case) for path in (SAY, COUNT) for case in ONLY_ONE],
    ids=lambda value: value.id if isinstance(value, Broken) else value.rpartition("/")[2],
)
async def test_a_broken_request_is_refused_and_logged_as_any_other(
    path: str, case: Broken, size: int
) -> None:
    log = RecordingLog()
    app = new_app(interceptors.access_log(log))
    parts = [case.body[at : at + size] for at in range(0, len(case.body), size)]
    stream = await request(path, (b"grpc-encoding", case.encoding)).open(app, *parts).answer()
    assert stream.code == case.code
    assert case.says in stream.status[b"grpc-message"].decode()
    await until(lambda: len(log.lines) == 1)
    assert app.in_flight == 0


async def test_a_message_that_is_too_large_is_refused_before_its_body_has_come() -> None:
    stream = request(SAY).open(new_app(), b"\0\0\1\0\0" + b"x" * 100, end=False)
    assert (await stream.answer()).code == Code.RESOURCE_EXHAUSTED
    handler, given_back = stream.handler, stream.consumed
    assert handler is not None
    handler.data_received(b"x" * 10_000)
    assert stream.consumed == given_back


@pytest.mark.parametrize("path", [SAY, CHAT])
async def test_a_small_message_that_becomes_a_large_one_costs_no_more_than_the_limit(
    path: str,
) -> None:
    app = new_app()
    app.limits = replace(app.limits, max_message=100_000)
    sent = framed(BOMB, compressed=1)
    stream = await request(path, (b"grpc-encoding", b"gzip")).open(app, sent).answer()
    assert stream.code == Code.RESOURCE_EXHAUSTED
    assert stream.status[b"grpc-message"].decode() == (
        "the message is larger than 100000 bytes when it is decompressed (max_message)"
    )


@pytest.mark.parametrize("path", ["/no.Such/Thing", "/paceline.test.Echo/Sey", "/", "*", "/a?b"])
@pytest.mark.parametrize("body", [b"", ONE], ids=["without", "with"])
async def test_a_path_that_no_service_has_is_unimplemented(path: str, body: bytes) -> None:
    seen: list[str] = []

    def note(endpoint: Endpoint, method: Method) -> Endpoint:
        async def noted(call: Call) -> bytes | None:
            seen.append(call.method.path)
            return await endpoint(call)

        return noted

    stream = await request(path).open(new_app(note), body).answer()
    assert (stream.code, seen) == (Code.UNIMPLEMENTED, [path])


# --- compression


@pytest.mark.parametrize("path", [SAY, JOIN, CHAT])
@pytest.mark.parametrize(("encoding", "bits"), [(b"gzip", GZIP), (b"deflate", DEFLATE)], ids=str)
async def test_a_compressed_request_is_read_and_its_answer_is_not_compressed_unasked(
    path: str, encoding: bytes, bits: int
) -> None:
    sent = framed(packed(text("aa"), bits), compressed=1)
    fields = [(b"grpc-encoding", encoding), (b"grpc-accept-encoding", b"gzip,deflate")]
    stream = await request(path, *fields).open(new_app(), sent).answer()
    assert texts_of(stream)[0].lower() == "aa"
    assert b"grpc-encoding" not in stream.head


@dataclass(frozen=True)
class Negotiated:
    accepted: bytes | None
    encoding: bytes | None
    bits: int = 0


@pytest.mark.parametrize("path", [SAY, COUNT])
@pytest.mark.parametrize("case", [
    Negotiated(b"identity, deflate, gzip", b"gzip", GZIP),
    Negotiated(b"deflate", b"deflate", DEFLATE),
    Negotiated(b"identity", None),
    Negotiated(b"snappy", None),
    Negotiated(None, None),
], ids=lambda case: str(case.accepted))  # fmt: skip
async def test_an_answer_is_compressed_where_the_handler_asks_and_the_client_accepts(
    case: Negotiated, path: str
) -> None:
    async def say(request: StringValue, call: Call) -> StringValue:
        call.compress()
        return StringValue(value="long" * 10)

    async def count(request: StringValue, call: Call) -> AsyncGenerator[StringValue, None]:
        call.compress()
        yield await say(request, call)
        call.compress(on=False)
        yield StringValue(value="short")

    fields = [] if case.accepted is None else [(b"grpc-accept-encoding", case.accepted)]
    stream = await request(path, *fields).open(add_echo(RpcApp(), say, count), ONE).answer()
    assert stream.head.get(b"grpc-encoding") == case.encoding
    flag, first = stream.messages[0]
    assert flag == (case.encoding is not None)
    assert StringValue.FromString(zlib.decompress(first, case.bits) if flag else first).value == (
        "long" * 10
    )
    if path == COUNT:
        assert stream.messages[1] == (0, text("short"))


# --- metadata


async def test_metadata_goes_both_ways_before_and_after_the_answer() -> None:
    async def say(request: StringValue, call: Call) -> StringValue:
        call.initial = [("x-initial", str(call.metadata["x-text"]))]
        call.trailing = [("x-trailing-bin", call.metadata["x-data-bin"])]
        return request

    fields = [(b"x-text", b"a b"), (b"x-data-bin", b"AAEC/w==")]
    stream = await request(SAY, *fields).open(add_echo(RpcApp(), say), ONE).answer()
    assert stream.head[b"x-initial"] == b"a b"
    assert stream.status[b"x-trailing-bin"] == b"AAEC/w"


async def test_initial_metadata_can_be_sent_before_the_first_message() -> None:
    going = asyncio.Event()

    async def count(request: StringValue, call: Call) -> AsyncGenerator[StringValue, None]:
        call.initial.append(("x-early", "yes"))
        await call.send_initial()
        await call.send_initial()
        await going.wait()
        yield request

    stream = request(COUNT).open(add_echo(RpcApp(), count=count), ONE)
    await until(lambda: bool(stream.blocks))
    assert stream.head[b"x-early"] == b"yes"
    assert not stream.ended
    going.set()
    assert texts_of(await stream.answer()) == ["a"]
    assert len(stream.blocks) == 2


async def test_an_error_after_initial_metadata_has_trailers_of_its_own() -> None:
    async def say(request: StringValue, call: Call) -> StringValue:
        call.initial = [("x-initial", "yes")]
        raise Error(Code.ABORTED, "no")

    stream = await request(SAY).open(add_echo(RpcApp(), say), ONE).answer()
    assert (stream.head[b"x-initial"], len(stream.blocks)) == (b"yes", 2)
    assert stream.code == Code.ABORTED


@pytest.mark.parametrize(
    "pair",
    [("Bad-Name", "x"), ("x", "a\r\nb"), ("x", "☺"), ("grpc-status", "0"), ("x", "x" * 9000), ("", "x")],
    ids=str,
)  # fmt: skip
async def test_metadata_that_cannot_be_sent_is_an_internal_error_and_reported(
    pair: tuple[str, str],
) -> None:
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    async def say(request: StringValue, call: Call) -> StringValue:
        call.trailing.append(pair)
        return request

    stream = await request(SAY).open(add_echo(RpcApp(), say), ONE).answer()
    assert (stream.code, stream.status[b"grpc-message"]) == (
        Code.INTERNAL,
        UNKNOWN_ERROR.encode(),
    )
    assert [context["message"] for context in reported] == [f"metadata of {SAY} cannot be sent"]


async def test_metadata_that_cannot_be_sent_before_an_early_error_is_answered_and_reported() -> (
    None
):
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    async def join(requests: AsyncIterator[StringValue], call: Call) -> StringValue:
        call.initial.append(("x", "a\nb"))
        raise Error(Code.ABORTED, "too early")

    stream = await request(JOIN).open(add_echo(RpcApp(), join=join), end=False).answer()
    assert stream.code == Code.INTERNAL
    assert [context["message"] for context in reported] == [f"metadata of {JOIN} cannot be sent"]


async def test_an_error_has_its_text_and_details_in_one_block() -> None:
    async def say(request: StringValue, call: Call) -> StringValue:
        raise Error(Code.FAILED_PRECONDITION, "50 % ☺\n")

    stream = await request(SAY).open(add_echo(RpcApp(), say), ONE).answer()
    assert stream.status[b"grpc-message"] == b"50 %25 %E2%98%BA%0A"
    raw = stream.status[b"grpc-status-details-bin"]
    assert not raw.endswith(b"=")
    details = Status.FromString(b64decode(raw + b"=" * (-len(raw) % 4)))
    assert details.message == "50 % ☺\n"
    assert (len(stream.blocks), stream.status[b":status"]) == (1, b"200")


# --- before there is a task


@pytest.mark.parametrize("part", [b"", b"\0", ONE[:-1]], ids=["nothing", "a byte", "nearly all"])
@pytest.mark.parametrize("path", [SAY, COUNT])
async def test_a_request_that_does_not_arrive_wholly_has_no_task_and_no_place(
    path: str, part: bytes
) -> None:
    app = new_app()
    app.limits = replace(app.limits, max_calls=1)
    waiting = [request(path).open(app, part, end=False) for _ in range(10)]
    await asyncio.sleep(0)
    assert [(each.task, each.ended) for each in waiting] == [(None, False)] * 10
    assert app.in_flight == 0
    assert texts_of(await request(SAY).open(app, ONE).answer()) == ["A"]
    for each in waiting:
        assert each.handler is not None
        each.handler.closed()


async def test_a_call_beyond_the_limit_is_refused_until_another_ends() -> None:
    held = asyncio.Event()

    async def say(request: StringValue, call: Call) -> StringValue:
        await held.wait()
        return request

    app = add_echo(RpcApp(), say)
    app.limits = RpcLimits(max_calls=1)
    first = request(SAY).open(app, ONE)
    for path in (SAY, COUNT, JOIN, CHAT):
        refused = request(path).open(app, ONE)
        assert (refused.code, refused.task) == (Code.RESOURCE_EXHAUSTED, None)
    held.set()
    await first.answer()
    await until(lambda: app.in_flight == 0)
    assert (await request(SAY).open(app, ONE).answer()).code == Code.OK


async def test_a_call_for_which_there_is_no_room_is_refused_when_its_headers_arrive() -> None:
    shedder = LoadShedder(ManualClock(), RecordingLog(), max_in_flight=1, target_delay=0)
    admission = Admission(shedder, "grpc")
    app = new_app(admission_check=PreAdmission(admission, lambda _: Priority.READ, domain="shop"))
    permit = shedder.admit()
    stream = request(SAY).open(app, end=False)
    assert (stream.code, stream.task) == (Code.RESOURCE_EXHAUSTED, None)
    assert admission.stats.refused_reads == 1
    permit.release()
    assert (await request(SAY).open(app, ONE).answer()).code == Code.OK


@pytest.mark.parametrize("path", [JOIN, CHAT])
@pytest.mark.parametrize(
    ("field", "code"),
    [((b"grpc-timeout", b"soon"), Code.INTERNAL), ((b"grpc-encoding", b"x"), Code.UNIMPLEMENTED)],
    ids=["timeout", "encoding"],
)
@pytest.mark.parametrize("ends", [False, True], ids=["first data", "end"])
async def test_a_refusal_of_many_messages_comes_when_the_client_has_begun_to_send(
    path: str,
    field: tuple[bytes, bytes],
    code: Code,
    ends: bool,  # noqa: FBT001 - a table's column
) -> None:
    stream = request(path, field).open(new_app(), end=False)
    assert stream.handler is not None
    assert not stream.ended
    if ends:
        stream.handler.end_received([])
    else:
        stream.handler.data_received(ONE[:1])
    assert (stream.code, stream.task) == (code, None)
    stream.handler.data_received(ONE[1:])
    stream.handler.closed()


async def test_a_refusal_does_not_wait_long_for_a_client_that_sends_nothing() -> None:
    stream = await request(CHAT, (b"grpc-timeout", b"soon")).open(new_app(), end=False).answer()
    assert stream.code == Code.INTERNAL


async def test_nothing_is_sent_to_a_client_that_has_left_before_its_refusal() -> None:
    stream = request(CHAT, (b"grpc-timeout", b"soon")).open(new_app(), end=False)
    assert stream.handler is not None
    stream.handler.closed()
    stream.handler.end_received([])
    assert not stream.blocks


# --- deadlines and cancellation


async def hanging(
    requests: AsyncIterator[StringValue], call: Call
) -> AsyncGenerator[StringValue, None]:
    yield StringValue(value="first")
    await asyncio.Event().wait()


@pytest.mark.parametrize("path", [SAY, COUNT, JOIN, CHAT])
async def test_a_call_ends_at_its_clients_deadline(path: str) -> None:
    codes: list[Code] = []

    def note(endpoint: Endpoint, method: Method) -> Endpoint:
        async def noted(call: Call) -> bytes | None:
            try:
                await asyncio.Event().wait()
            finally:
                codes.append(call.cancelled_code)
            return await endpoint(call)

        return noted

    app = new_app(note)
    stream = await request(path, (b"grpc-timeout", b"20m")).open(app, ONE).answer()
    assert stream.code == Code.DEADLINE_EXCEEDED
    assert stream.status[b"grpc-message"] == (
        b"the call took longer than the 0.02s set by the client (grpc-timeout)"
    )
    await until(lambda: app.in_flight == 0)
    assert codes == [Code.DEADLINE_EXCEEDED]


async def test_a_deadline_that_has_passed_when_the_message_is_whole_starts_nothing() -> None:
    stream = request(SAY, (b"grpc-timeout", b"0n")).open(new_app(), ONE)
    assert (stream.code, stream.task) == (Code.DEADLINE_EXCEEDED, None)


async def test_the_interceptors_deadline_answers_for_unary_calls() -> None:
    async def say(request: StringValue, call: Call) -> StringValue:
        await asyncio.Event().wait()
        return request

    app = add_echo(RpcApp(interceptors.deadline(30)), say)
    stream = await request(SAY, (b"grpc-timeout", b"20m")).open(app, ONE).answer()
    assert stream.code == Code.DEADLINE_EXCEEDED


@pytest.mark.parametrize("started", [False, True], ids=["before its first step", "later"])
@pytest.mark.parametrize(
    ("allowed", "code"), [(b"10S", Code.CANCELLED), (b"100m", Code.DEADLINE_EXCEEDED)], ids=str
)
async def test_a_client_that_leaves_cancels_its_call(
    allowed: bytes,
    code: Code,
    started: bool,  # noqa: FBT001 - a table's column
) -> None:
    log = RecordingLog()
    held = asyncio.Event()

    async def say(request: StringValue, call: Call) -> StringValue:
        held.set()
        await asyncio.Event().wait()
        return request

    wraps = interceptors.access_log(log), interceptors.recover(log), interceptors.deadline(30)
    app = add_echo(RpcApp(*wraps), say)
    stream = request(SAY, (b"grpc-timeout", allowed)).open(app, ONE)
    if started:
        await held.wait()
        await asyncio.sleep(0 if code is Code.CANCELLED else 0.085)  # a trip before the deadline
    assert stream.handler is not None
    stream.handler.closed()
    assert stream.task is not None
    await asyncio.wait({stream.task})
    assert stream.task.cancelled() is started
    assert (app.in_flight, stream.ended) == (0, False)
    expected = code.name if started else "CANCELLED"
    assert [fields["code"] for _, _, fields in log.lines] == [expected]


@pytest.mark.parametrize("path", [COUNT, JOIN, CHAT])
async def test_a_stream_whose_client_leaves_at_once_is_logged(path: str) -> None:
    log = RecordingLog()
    app = add_echo(RpcApp(interceptors.access_log(log), interceptors.recover(log)))
    stream = request(path).open(app, framed(text("3")), end=path == COUNT)
    assert stream.handler is not None
    assert stream.task is not None
    stream.handler.closed()
    await asyncio.wait({stream.task})
    assert [fields["code"] for _, _, fields in log.lines] == ["CANCELLED"]
    assert (app.in_flight, stream.ended) == (0, False)


# --- messages that do not arrive


async def test_messages_that_arrive_at_once_are_bounded_for_each_connection_and_in_all() -> None:
    app = new_app()
    app.limits = RpcLimits(max_message=MAX, max_connection_arriving=1_000, max_arriving=1_500)
    part = framed(b"x" * 900)[:600]
    other = object()

    def arriving(connection: object) -> FakeStream:
        stream = request(SAY)
        stream.client, stream.connection = None, connection  # as over a Unix socket
        return stream.open(app, part, end=False)

    first, second = arriving(object()), arriving(other)
    assert (first.task, second.task) == (None, None)
    beyond = await arriving(other).answer()
    assert beyond.code == Code.RESOURCE_EXHAUSTED
    beyond = await arriving(object()).answer()
    assert beyond.code == Code.RESOURCE_EXHAUSTED
    for stream in (first, second):
        assert stream.handler is not None
        stream.handler.closed()
    third = request(SAY).open(app, framed(text("a" * 500))[:400], end=False)
    assert third.handler is not None
    third.handler.data_received(framed(text("a" * 500))[400:])
    third.handler.end_received([])
    assert texts_of(await third.answer()) == ["A" * 500]
    assert arriving(other).task is None  # everything was given back


async def test_an_error_of_a_streaming_call_waits_for_its_first_message() -> None:
    stream = request("/no.Such/Thing").open(new_app(), end=False)
    assert stream.task is not None
    await asyncio.wait({stream.task})
    assert not stream.ended
    assert stream.handler is not None
    stream.handler.data_received(ONE)
    assert stream.code == Code.UNIMPLEMENTED


async def test_an_error_of_a_streaming_call_does_not_wait_for_ever() -> None:
    stream = await request("/no.Such/Thing").open(new_app(), end=False).answer()
    assert stream.code == Code.UNIMPLEMENTED


# --- streams


async def test_a_handler_that_answers_early_ends_the_call() -> None:
    async def chat(
        requests: AsyncIterator[StringValue], call: Call
    ) -> AsyncGenerator[StringValue, None]:
        yield await anext(aiter(requests))

    app = add_echo(RpcApp(), chat=chat)
    stream = await request(CHAT).open(app, ONE, ONE, end=False).answer()
    assert (texts_of(stream), stream.code) == (["a"], Code.OK)


async def test_what_the_handler_does_not_take_is_not_given_back_to_the_client() -> None:
    taking = asyncio.Event()

    async def join(requests: AsyncIterator[StringValue], call: Call) -> StringValue:
        await taking.wait()
        return StringValue(value="".join([each.value async for each in requests]))

    app = add_echo(RpcApp(), join=join)
    stream = request(JOIN).open(app, *[ONE] * 50, end=False)
    await asyncio.sleep(0)
    assert (stream.consumed, stream.lasting) == (0, False)
    taking.set()
    await until(lambda: stream.consumed == 50 * len(ONE))
    assert stream.lasting, "the read timeout is for requests that nobody waits for"
    assert stream.handler is not None
    stream.handler.end_received([])
    assert texts_of(await stream.answer()) == ["a" * 50]


async def test_a_message_larger_than_the_window_is_given_back_while_it_arrives() -> None:
    stream = request(JOIN).open(new_app(), end=False)
    message = framed(text("x" * 900))
    assert stream.handler is not None
    for at in range(0, len(message), 100):
        await asyncio.sleep(0)
        stream.handler.data_received(message[at : at + 100])
        await until(lambda at=at: stream.consumed >= min(at + 100, len(message)))  # type: ignore[misc]
    stream.handler.end_received([])
    assert texts_of(await stream.answer()) == ["x" * 900]


async def test_a_client_that_does_not_read_holds_the_generator_back() -> None:
    made = 0

    async def count(request: StringValue, call: Call) -> AsyncGenerator[StringValue, None]:
        nonlocal made
        for made in range(100):  # noqa: B007 - it is looked at outside
            yield StringValue(value="x" * 10)

    stream = request(COUNT)
    stream.room = 100
    stream.open(add_echo(RpcApp(), count=count), ONE)
    await until(lambda: len(stream.body) > 100)
    for _ in range(10):
        await asyncio.sleep(0)
    before = made
    assert before < 10
    stream.room = float("inf")
    assert stream.handler is not None
    stream.handler.writable()
    await stream.answer()
    assert made == 99


async def test_a_stream_that_never_waits_leaves_others_their_turn() -> None:
    async def count(request: StringValue, call: Call) -> AsyncGenerator[StringValue, None]:
        while True:
            yield request

    app = add_echo(RpcApp(), count=count)
    endless = request(COUNT).open(app, ONE)
    assert (await request(SAY).open(app, ONE).answer()).code == Code.OK
    assert endless.handler is not None
    endless.handler.closed()
    await until(lambda: app.in_flight == 0)


async def test_a_stream_ends_with_unavailable_when_the_server_stops() -> None:
    async def count(request: StringValue, call: Call) -> AsyncGenerator[StringValue, None]:
        yield request
        await asyncio.Event().wait()

    app = add_echo(RpcApp(), count=count)
    stream = request(COUNT).open(app, ONE)
    await until(lambda: bool(stream.body))
    app.end_streams()
    assert (await stream.answer()).code == Code.UNAVAILABLE
    refused = await request(COUNT).open(app, ONE).answer()
    assert refused.code == Code.UNAVAILABLE
