"""gRPC-Web and Connect beside each other: who answers what, encodings, deadlines, limits, CORS."""

import asyncio
import gzip
import json
import zlib
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, MethodOptions
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.wrappers_pb2 import DESCRIPTOR as WRAPPERS
from google.protobuf.wrappers_pb2 import StringValue
from rpc_echo import CHAT, COUNT, JOIN, SAY, add_echo
from web_exchange import WebExchange, post

from paceline.errors import Code, Error
from paceline.grpc import (
    Call,
    Endpoint,
    ErrorStatus,
    Interceptor,
    Method,
    RpcApp,
    RpcLimits,
    interceptors,
    unary,
)
from paceline.grpc.envelopes import envelope
from paceline.grpc.status import error_status_of
from paceline.grpc.web import RpcWebApp, media_type

JSON, PROTO = "application/json", "application/proto"
WEB, TEXT = "application/grpc-web+proto", "application/grpc-web-text+proto"
STREAM = "application/connect+json"


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes,
}  # fmt: skip
UNPACK: dict[str | None, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes,
}  # fmt: skip


def message(text: str) -> bytes:
    return StringValue(value=text).SerializeToString()


def web(*interceptors: Interceptor, **settings: object) -> RpcWebApp:
    return RpcWebApp(add_echo(RpcApp(*interceptors, **settings)))  # type: ignore[arg-type]


async def fails(request: StringValue, call: Call) -> StringValue:
    call.initial.append(("before", "1"))
    call.trailing += [("after", "2"), ("after-bin", b"\0\1")]
    raise Error(Code.FAILED_PRECONDITION, "not ☺ now")


async def speaks(request: StringValue, call: Call) -> StringValue:
    call.initial.append(("before", "1"))
    call.trailing += [("after", "2"), ("after-bin", b"\0\1")]
    call.compress()
    return StringValue(value=request.value.upper())


def frames(body: bytes) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    while body:
        size = int.from_bytes(body[1:5], "big")
        assert len(body) >= 5 + size
        found.append((body[0], body[5 : 5 + size]))
        body = body[5 + size :]
    return found


# Connect, unary.


async def test_json_is_answered_by_json() -> None:
    answer = await post(web(), SAY, JSON, b'"hel', b'lo"')
    assert (answer.status, answer.body) == (200, b'"HELLO"')
    assert answer.header("content-type") == JSON
    assert answer.header("content-length") == "7"


async def test_protobuf_is_answered_by_protobuf() -> None:
    answer = await post(web(), SAY, "application/proto; charset=UTF-8", message("a"))
    assert (answer.status, answer.body) == (200, message("A"))
    assert answer.header("content-type") == PROTO


async def test_metadata_are_headers_and_trailers_have_a_prefix() -> None:
    app = RpcWebApp(add_echo(RpcApp(), speaks))
    answer = await post(app, SAY, JSON, b'"a"')
    assert answer.header("before") == "1"
    assert answer.header("trailer-after") == "2"
    assert answer.header("trailer-after-bin") == "AAE"


async def test_an_error_is_json_with_its_status_and_all_metadata() -> None:
    app = RpcWebApp(add_echo(RpcApp(), fails))
    answer = await post(app, SAY, PROTO, message("a"))
    assert answer.status == 400
    assert answer.header("content-type") == JSON
    assert json.loads(answer.body) == {"code": "failed_precondition", "message": "not ☺ now"}
    assert (answer.header("before"), answer.header("trailer-after")) == ("1", "2")


async def test_an_unknown_method_is_unimplemented_and_not_found() -> None:
    answer = await post(web(), "/no.Such/Thing", JSON, b"{}")
    assert answer.status == 404
    assert json.loads(answer.body)["code"] == "unimplemented"


@dataclass(frozen=True)
class Bad:
    id: str
    body: bytes = b'"a"'
    headers: dict[str, str] = field(default_factory=dict[str, str])
    status: int = 400
    code: str = "invalid_argument"
    says: str = ""


BAD = [
    Bad("no json", b"{", says="JSON"),
    Bad("nothing", b"", says="empty"),
    Bad("another version", headers={"connect-protocol-version": "2"}, says="version 1"),
    Bad("no timeout", headers={"connect-timeout-ms": "1s"}, says="connect-timeout-ms"),
    Bad("a long timeout", headers={"connect-timeout-ms": "1" * 11}, says="connect-timeout-ms"),
    Bad(
        "an unknown encoding", headers={"content-encoding": "br"},
        status=501, code="unimplemented", says="gzip",
    ),
    Bad(
        "broken compression", b"x", {"content-encoding": "gzip"},
        status=500, code="internal", says="gzip",
    ),
    Bad("too large", b'"' + b"x" * 200 + b'"', status=429, code="resource_exhausted", says="202"),
    Bad(
        "too large by its length", b"", {"content-length": "101"},
        status=429, code="resource_exhausted", says="101",
    ),
    Bad(
        "too large unpacked", gzip.compress(b" " * 100_000, mtime=0), {"content-encoding": "gzip"},
        status=429, code="resource_exhausted", says="decompressed",
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.id)
async def test_a_wrong_call_is_refused_with_a_text(case: Bad) -> None:
    app = add_echo(RpcApp())
    app.limits = RpcLimits(max_message=200)
    if "length" in case.id:
        app.limits = RpcLimits(max_message=100)
    answer = await post(RpcWebApp(app), SAY, JSON, case.body, headers=case.headers)
    error = json.loads(answer.body)
    assert (answer.status, error["code"]) == (case.status, case.code)
    assert case.says in error["message"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
async def test_compressed_bodies_are_read(encoding: str) -> None:
    answer = await post(
        web(), SAY, JSON, PACK[encoding](b'"a"'), headers={"content-encoding": encoding}
    )
    assert answer.body == b'"A"'


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        (None, None),
        ("br, gzip", "gzip"),
        ("deflate, gzip", "deflate"),
        ("gzip;q=0, deflate;q=0.5", "deflate"),
        ("gzip; Q=0.000, deflate", "deflate"),
        ("br", None),
        ("identity", None),
    ],
)
async def test_answers_are_compressed_where_both_sides_want_it(
    accepted: str | None, expected: str | None
) -> None:
    app = RpcWebApp(add_echo(RpcApp(), speaks))
    headers = {} if accepted is None else {"accept-encoding": accepted}
    answer = await post(app, SAY, JSON, b'"a"', headers=headers)
    assert answer.header("content-encoding") == expected
    assert UNPACK[expected](answer.body) == b'"A"'


async def test_the_clients_deadline_reaches_the_handler() -> None:
    seen: list[float | None] = []

    async def say(request: StringValue, call: Call) -> StringValue:
        seen.append(call.time_remaining())
        await asyncio.sleep(10)
        return request

    app = RpcWebApp(add_echo(RpcApp(), say))
    answer = await post(app, SAY, JSON, b'"a"', headers={"connect-timeout-ms": "20"})
    assert (answer.status, json.loads(answer.body)["code"]) == (504, "deadline_exceeded")
    assert "connect-timeout-ms" in json.loads(answer.body)["message"]
    assert seen[0] is not None
    assert 0 < seen[0] <= 0.02


async def test_the_interceptors_deadline_names_connects_field() -> None:
    async def say(request: StringValue, call: Call) -> StringValue:
        await asyncio.sleep(10)
        return request

    app = RpcWebApp(add_echo(RpcApp(interceptors.deadline(30)), say))
    answer = await post(app, SAY, JSON, b'"a"', headers={"connect-timeout-ms": "20"})
    assert json.loads(answer.body)["message"].endswith("set by the client (connect-timeout-ms)")


async def test_the_protocols_own_fields_are_no_metadata() -> None:
    seen: list[list[str]] = []

    async def say(request: StringValue, call: Call) -> StringValue:
        seen.append([name for name, _ in call.metadata_pairs])
        return request

    app = RpcWebApp(add_echo(RpcApp(), say))
    fields = {"connect-protocol-version": "1", "accept-encoding": "gzip", "mine": "1"}
    await post(app, SAY, JSON, b'"a"', headers=fields)
    assert seen == [["mine"]]


# Connect by GET.


def safe_app() -> RpcWebApp:
    """A service with the method Get, which has no side effects."""
    pool = DescriptorPool()
    pool.AddSerializedFile(WRAPPERS.serialized_pb)
    file = FileDescriptorProto(
        name="paceline/test/safe.proto", package="paceline.test", syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )  # fmt: skip
    kind = ".google.protobuf.StringValue"
    method = file.service.add(name="Safe").method.add(name="Get", input_type=kind, output_type=kind)
    method.options.idempotency_level = MethodOptions.NO_SIDE_EFFECTS
    pool.AddSerializedFile(file.SerializeToString())
    service = pool.FindServiceByName("paceline.test.Safe")
    answers = GetMessageClass(service.methods[0].output_type)

    async def get(request: StringValue, call: Call) -> StringValue:
        return answers(value=request.value.upper())  # type: ignore[return-value]

    app = RpcApp()
    app.add(service, {"Get": unary(get)})
    return RpcWebApp(app)


GET = "/paceline.test.Safe/Get"
BINARY = urlsafe_b64encode(message("a?>b")).decode()


@pytest.mark.parametrize(
    ("query", "status", "body"),
    [
        ("encoding=json&message=%22a%22", 200, b'"A"'),
        ("message=%22a+b%22&encoding=json&connect=v1&other=1", 200, b'"A B"'),
        (f"encoding=proto&base64=1&message={BINARY.rstrip('=')}", 200, message("A?>B")),
        (f"encoding=proto&base64=1&message={BINARY.replace('=', '%3D')}", 200, message("A?>B")),
        (
            "encoding=json&base64=1&compression=gzip&message="
            + urlsafe_b64encode(gzip.compress(b'"a"', mtime=0)).decode(),
            200, b'"A"',
        ),
        ("encoding=json", 400, b"invalid_argument"),
        ("encoding=json&base64=1&message=+", 400, b"base64"),
        ("encoding=json&message=%22a%22&connect=v2", 400, b"version 1 of Connect: send connect=v1"),
        ("encoding=json&message=%22a%22&compression=br", 501, b"unimplemented"),
        ("encoding=text&message=a", 415, b"encoding=json"),
        ("", 415, b"encoding=json"),
    ],
)  # fmt: skip
async def test_a_method_without_side_effects_is_called_by_get(
    query: str, status: int, body: bytes
) -> None:
    answer = await WebExchange().run(safe_app(), "GET", f"{GET}?{query}")
    assert answer.status == status
    assert answer.body == body if status == 200 else body in answer.body


async def test_other_methods_are_not_called_by_get() -> None:
    answer = await WebExchange().run(web(), "GET", f"{SAY}?encoding=json&message=%22a%22")
    assert (answer.status, answer.header("allow")) == (405, "POST")


# Connect's streams.


async def test_a_stream_of_json_ends_with_its_status() -> None:
    answer = await post(web(), COUNT, STREAM, envelope(0, b'"2"'))
    assert answer.status == 200
    assert answer.lifted
    assert answer.header("content-type") == STREAM
    assert frames(answer.body) == [(0, b'"0"'), (0, b'"1"'), (2, b"{}")]


async def test_many_messages_go_in_and_out() -> None:
    body = envelope(0, b'"ab"') + envelope(0, b'"cd"')
    assert frames((await post(web(), CHAT, STREAM, body)).body) == [
        (0, b'"ba"'), (0, b'"dc"'), (2, b"{}"),
    ]  # fmt: skip
    assert frames((await post(web(), JOIN, STREAM, body)).body) == [(0, b'"ab cd"'), (2, b"{}")]


async def test_the_error_of_a_stream_is_in_its_end() -> None:
    async def count(request: StringValue, call: Call) -> AsyncGenerator[StringValue, None]:
        call.trailing.append(("after", "2"))
        yield request
        raise Error(Code.DATA_LOSS, "gone")

    app = RpcWebApp(add_echo(RpcApp(), count=count))
    answer = await post(app, COUNT, STREAM, envelope(0, b'"a"'))
    (_, first), (flags, end) = frames(answer.body)
    assert (answer.status, first, flags) == (200, b'"a"', 2)
    assert json.loads(end) == {
        "error": {"code": "data_loss", "message": "gone"},
        "metadata": {"after": ["2"]},
    }


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (envelope(2, b"{}"), "invalid_argument"),
        (envelope(4, b"{}"), "invalid_argument"),
        (envelope(1, b"{}"), "internal"),
        (envelope(0, b'"1"') * 2, "unimplemented"),
        (b"", "unimplemented"),
        (envelope(0, b"{"), "invalid_argument"),
    ],
    ids=["an end", "other flags", "compressed without encoding", "two", "none", "no json"],
)
async def test_a_wrong_message_ends_a_stream(body: bytes, code: str) -> None:
    answer = await post(web(), COUNT, STREAM, body)
    [(flags, end)] = frames(answer.body)
    assert (answer.status, flags, json.loads(end)["error"]["code"]) == (200, 2, code)


async def test_a_stream_ends_at_its_clients_deadline() -> None:
    async def count(request: StringValue, call: Call) -> AsyncGenerator[StringValue, None]:
        yield request
        await asyncio.sleep(10)

    app = RpcWebApp(add_echo(RpcApp(), count=count))
    headers = {"connect-timeout-ms": "20"}
    answer = await post(app, COUNT, STREAM, envelope(0, b'"a"'), headers=headers)
    *_, (flags, end) = frames(answer.body)
    assert (flags, json.loads(end)["error"]["code"]) == (2, "deadline_exceeded")


async def test_a_client_that_leaves_a_stream_raises_in_its_handler() -> None:
    seen: list[str] = []

    async def join(requests: AsyncIterator[StringValue], call: Call) -> StringValue:
        async for request in requests:
            seen.append(request.value)  # noqa: PERF401 - it ends in the middle
        raise AssertionError

    app = RpcWebApp(add_echo(RpcApp(), join=join))
    exchange = WebExchange([envelope(0, b'"a"'), b"\0"], disconnects=True)
    await exchange.run(app, "POST", JOIN, {"content-type": STREAM})
    assert seen == ["a"]
    assert b'"canceled"' in exchange.answer.body


# gRPC-Web.


async def test_web_answers_with_frames_and_its_trailers_last() -> None:
    answer = await post(web(), SAY, WEB, envelope(0, message("a")))
    assert answer.header("content-type") == WEB
    assert frames(answer.body) == [(0, message("A")), (0x80, b"grpc-status: 0\r\n")]
    answer = await post(web(), COUNT, WEB, envelope(0, message("1")))
    assert frames(answer.body) == [(0, message("0")), (0x80, b"grpc-status: 0\r\n")]


@pytest.mark.parametrize(
    ("kind", "accept"), [(TEXT, "*/*"), (WEB, "application/grpc-web-text")], ids=["type", "accept"]
)
async def test_text_is_base64_both_ways(kind: str, accept: str) -> None:
    raw = envelope(0, message("1"))
    body = b64encode(raw) if kind == TEXT else raw
    answer = await post(web(), COUNT, kind, body, headers={"accept": accept})
    assert answer.header("content-type") == TEXT
    assert frames(b"".join(b64decode(piece) for piece in answer.pieces)) == [
        (0, message("0")), (0x80, b"grpc-status: 0\r\n"),
    ]  # fmt: skip


async def test_an_error_before_any_message_is_in_the_headers() -> None:
    async def say(request: StringValue, call: Call) -> StringValue:
        call.trailing.append(("after", "2"))
        raise Error(Code.NOT_FOUND, "50 % ☺")

    app = RpcWebApp(add_echo(RpcApp(), say))
    answer = await post(app, SAY, WEB, envelope(0, message("a")))
    assert (answer.status, answer.body) == (200, b"")
    assert answer.header("grpc-status") == "5"
    assert answer.header("grpc-message") == "50 %25 %E2%98%BA"
    assert answer.header("after") == "2"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"grpc-timeout": "1x"}, "13"),
        ({"grpc-timeout": "1n"}, "4"),
        ({"grpc-encoding": "br"}, "12"),
    ],
)
async def test_web_refuses_what_it_cannot_understand(headers: dict[str, str], status: str) -> None:
    async def say(request: StringValue, call: Call) -> StringValue:
        await asyncio.sleep(10)
        return request

    app = RpcWebApp(add_echo(RpcApp(), say))
    answer = await post(app, SAY, WEB, envelope(0, message("a")), headers=headers)
    assert answer.header("grpc-status") == status
    assert (answer.header("grpc-accept-encoding") is not None) == ("grpc-encoding" in headers)


async def test_web_compresses_message_by_message() -> None:
    app = RpcWebApp(add_echo(RpcApp(), speaks))
    headers = {"grpc-encoding": "gzip", "grpc-accept-encoding": "identity,gzip"}
    answer = await post(
        app, SAY, WEB, envelope(1, gzip.compress(message("a"), mtime=0)), headers=headers
    )
    (flags, packed), _ = frames(answer.body)
    assert (flags, gzip.decompress(packed)) == (1, message("A"))
    assert answer.header("grpc-encoding") == "gzip"


# What holds for all.

KINDS = [(JSON, b'"a"'), (WEB, envelope(0, message("a")))]


@pytest.mark.parametrize(("kind", "body"), KINDS, ids=["connect", "grpc-web"])
async def test_interceptors_see_calls_of_every_protocol(kind: str, body: bytes) -> None:
    seen: list[tuple[str, str, bytes | None]] = []

    def note(endpoint: Endpoint, method: Method) -> Endpoint:
        async def noted(call: Call) -> bytes | None:
            seen.append((method.path, call.client, call.header(b"authorization")))
            return await endpoint(call)

        return noted

    await post(web(note), SAY, kind, body, headers={"authorization": "Bearer x"})
    assert seen == [(SAY, "192.0.2.7", b"Bearer x")]


class Refuses:
    """An admission check that has room for nobody."""

    status: ErrorStatus = error_status_of(Error(Code.RESOURCE_EXHAUSTED, "overloaded"))

    def for_method(self, method: Method, /) -> Callable[[], bool]:
        return lambda: True


@pytest.mark.parametrize(("kind", "body"), KINDS, ids=["connect", "grpc-web"])
async def test_an_overload_is_refused_before_the_body_is_read(kind: str, body: bytes) -> None:
    exchange = WebExchange([body])
    answer = await exchange.run(web(admission_check=Refuses()), "POST", SAY, {"content-type": kind})
    assert exchange.taken == 0
    assert answer.status == (429 if kind == JSON else 200)
    assert b"overloaded" in answer.body or answer.header("grpc-message") == "overloaded"


@pytest.mark.parametrize(("kind", "body"), KINDS, ids=["connect", "grpc-web"])
async def test_one_call_too_many_is_refused(kind: str, body: bytes) -> None:
    app = add_echo(RpcApp())
    app.limits = RpcLimits(max_calls=0)
    answer = await post(RpcWebApp(app), SAY, kind, body)
    assert b"resource_exhausted" in answer.body or answer.header("grpc-status") == "8"


@pytest.mark.parametrize(("kind", "body"), KINDS, ids=["connect", "grpc-web"])
async def test_metadata_that_cannot_be_sent_are_an_internal_error(kind: str, body: bytes) -> None:
    async def say(request: StringValue, call: Call) -> StringValue:
        call.trailing.append(("bad name", "1"))
        return request

    reported: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, at: reported.append(at["message"]))
    answer = await post(RpcWebApp(add_echo(RpcApp(), say)), SAY, kind, body)
    assert b"internal" in answer.body or answer.header("grpc-status") == "13"
    assert reported == [f"the answer of {SAY} cannot be sent"]


@dataclass(frozen=True)
class NoCall:
    id: str
    method: str
    path: str
    kind: str
    status: int
    says: str


NO_CALLS = [
    NoCall("a page", "GET", "/", "", 404, "gRPC-Web and Connect"),
    NoCall("a form", "POST", SAY, "application/x-www-form-urlencoded", 415, "application/json"),
    NoCall("a charset", "POST", SAY, "application/json; charset=latin-1", 415, "application/json"),
    NoCall("no type", "POST", SAY, "", 415, "application/json"),
    NoCall("elsewhere", "POST", "/x", "text/plain", 404, "there is no method /x"),
    NoCall("a stream of one", "POST", SAY, STREAM, 415, "does not stream"),
    NoCall("one of a stream", "POST", COUNT, JSON, 415, "application/connect+json"),
    NoCall("grpc on 1.1", "POST", SAY, "application/grpc", 505, "HTTP/2"),
    NoCall("another method", "DELETE", SAY, JSON, 405, "gRPC"),
    NoCall("a question", "OPTIONS", SAY, "", 405, "gRPC"),
]


@pytest.mark.parametrize("case", NO_CALLS, ids=lambda case: case.id)
async def test_what_is_no_call_is_a_problem_that_says_what_is_spoken(case: NoCall) -> None:
    exchange = WebExchange([b'"a"'])
    answer = await exchange.run(web(), case.method, case.path, {"content-type": case.kind})
    assert answer.status == case.status
    assert answer.header("content-type") == "application/problem+json"
    assert case.says in json.loads(answer.body)["detail"]


def test_a_media_type_is_read_without_its_parameters() -> None:
    assert media_type(b"Application/JSON ; charset=UTF-8;x=1") == b"application/json"
    assert media_type(b"application/json;charset=ascii") == b""


# CORS.

ORIGIN = "https://app.example"


def preflight(origin: str) -> dict[str, str]:
    return {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }


async def test_without_origins_there_is_no_cors() -> None:
    answer = await WebExchange().run(web(), "OPTIONS", SAY, preflight(ORIGIN))
    assert answer.status == 403
    plain = await post(web(), SAY, JSON, b'"a"', headers={"origin": ORIGIN})
    for headers in (answer.headers, plain.headers):
        assert not [name for name, _ in headers if name.startswith(b"access-control")]


@pytest.mark.parametrize(("listed", "said"), [(ORIGIN, ORIGIN), ("*", "*")])
async def test_a_listed_origin_may_call(listed: str, said: str) -> None:
    app = web(cors_origins=[listed])
    answer = await WebExchange().run(app, "OPTIONS", SAY, preflight(ORIGIN))
    assert answer.status == 204
    assert answer.header("access-control-allow-origin") == said
    assert answer.header("access-control-allow-methods") == "POST, GET"
    assert answer.header("access-control-allow-headers") == "authorization,content-type"
    for path, body in ((SAY, b'"a"'), (SAY, b"{"), ("/no.Such/Thing", b"{}")):
        called = await post(app, path, JSON, body, headers={"origin": ORIGIN})
        assert called.header("access-control-allow-origin") == said
        assert "grpc-status" in (called.header("access-control-expose-headers") or "")
    refused = await post(app, SAY, "text/plain", headers={"origin": ORIGIN})
    assert (refused.status, refused.header("access-control-allow-origin")) == (415, said)


async def test_another_origin_may_not() -> None:
    app = web(cors_origins=[ORIGIN])
    for origin in ("https://evil.example", "null", ORIGIN + ".evil.example", "http://app.example"):
        answer = await WebExchange().run(app, "OPTIONS", SAY, preflight(origin))
        assert answer.status == 403
        called = await post(app, SAY, JSON, b'"a"', headers={"origin": origin})
        assert called.header("access-control-allow-origin") is None
        assert called.header("vary") == "origin"


@pytest.mark.parametrize("origin", ["app.example", "https://app.example/", "https://a b", ""])
def test_what_is_no_origin_cannot_be_listed(origin: str) -> None:
    with pytest.raises(ValueError, match="no origin"):
        RpcApp(cors_origins=[origin])
