"""The interceptors around an endpoint, without a socket: alike for unary methods and streams."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import NoneType

import pytest
from rpc_echo import FakeContext

from paceline.concurrency.deadline import remaining
from paceline.edge import FailureLimit, RateLimited
from paceline.errors import Code, Error, NotFound, PermissionDenied, Unauthorized
from paceline.grpc.call import Call, Endpoint, Method
from paceline.grpc.interceptors import (
    access_log,
    authenticate,
    deadline,
    rate_limit,
    recover,
    request_id,
)
from paceline.grpc.streams import OpenStreams, ShuttingDown
from paceline.log.context import current_fields
from paceline.resilience.rate_limit import RateLimiter, RateLimits
from paceline.testing import RecordingLog
from paceline.testing.clock import ManualClock

UNARY = Method("/shop.v1.Shop/Buy", scopes=frozenset({"shop:buy"}))
STREAM = Method("/shop.v1.Shop/Watch", streams=True, scopes=frozenset({"shop:buy"}))
PUBLIC = Method("/shop.v1.Shop/Hours", public=True)
both = pytest.mark.parametrize("method", [UNARY, STREAM], ids=["unary", "stream"])


@dataclass(frozen=True)
class Caller:
    subject: str = "ada"
    scopes: frozenset[str] = frozenset({"shop:buy"})
    expires_at: float = 100.0


@dataclass
class Tokens:
    """A ``TokenVerifier`` for a table of tokens."""

    known: dict[str, Caller] = field(default_factory=lambda: {"good": Caller()})

    def verify(self, token: str) -> Caller:
        if token not in self.known:
            raise Unauthorized("the token is not known")
        return self.known[token]

    def recall(self, token: str) -> Caller | None:
        return self.known.get(token) if token == "seen" else None


def call_of(method: Method, *metadata: tuple[str, str], left: float | None = None) -> Call:
    return Call(method, b"", FakeContext(list(metadata), left=left))


async def ok(call: Call) -> bytes | None:
    return b"ok"


def failing(error: BaseException) -> Endpoint:
    async def fail(call: Call) -> bytes | None:
        raise error

    return fail


async def forever(call: Call) -> bytes | None:
    await asyncio.Event().wait()
    return None


# --- request id


async def test_a_plain_request_id_is_kept_and_sent_back() -> None:
    seen: list[object] = []

    async def endpoint(call: Call) -> bytes | None:
        seen.append(current_fields()["request_id"])
        return b""

    call = call_of(UNARY, ("x-request-id", "abc-1"))
    await request_id()(endpoint, UNARY)(call)
    assert (call.request_id, call.trailing, seen) == (
        "abc-1",
        [("x-request-id", "abc-1")],
        ["abc-1"],
    )
    assert current_fields() == {}


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "ä", "a\n"], ids=repr)
async def test_any_other_request_id_is_replaced(given: str) -> None:
    wrapped = request_id()(ok, UNARY)
    calls = [call_of(UNARY, ("x-request-id", given)) for _ in range(2)]
    for call in calls:
        await wrapped(call)
    assert given not in {call.request_id for call in calls}
    assert len({call.request_id for call in calls}) == 2


# --- access log


@dataclass(frozen=True)
class Line:
    id: str
    endpoint: Endpoint
    code: str
    raises: type[BaseException] | None = None
    left: float | None = None


@pytest.mark.parametrize("case", [
    Line("an answer", ok, "OK"),
    Line("a refusal", recover(RecordingLog())(failing(NotFound()), UNARY), "NOT_FOUND"),
    Line("the client disconnected", failing(asyncio.CancelledError()), "CANCELLED", asyncio.CancelledError),
    Line("the client's time was over", failing(asyncio.CancelledError()), "DEADLINE_EXCEEDED", asyncio.CancelledError, 0.0),
    Line("nobody recovered", failing(RuntimeError()), "INTERNAL", RuntimeError),
], ids=lambda case: case.id)  # fmt: skip
async def test_a_call_is_logged_once_with_its_code(case: Line) -> None:
    log = RecordingLog()
    wrapped = access_log(log)(case.endpoint, UNARY)
    [raised] = await asyncio.gather(wrapped(call_of(UNARY, left=case.left)), return_exceptions=True)
    assert isinstance(raised, case.raises or (bytes, NoneType))
    [(level, event, fields)] = log.lines
    assert (level, event) == ("info", "call completed")
    assert fields.pop("duration_ms") is not None
    assert fields == {"method": UNARY.path, "code": case.code, "client": "192.0.2.7"}


async def test_probes_are_logged_at_debug_level() -> None:
    log = RecordingLog()
    await access_log(log, debug_paths=[PUBLIC.path])(ok, PUBLIC)(call_of(PUBLIC))
    assert log.events("debug") == ["call completed"]


# --- recover


@dataclass(frozen=True)
class Failure:
    id: str
    error: Exception
    code: Code
    logged: bool


@both
@pytest.mark.parametrize("case", [
    Failure("the caller's", NotFound(), Code.NOT_FOUND, logged=False),
    Failure("ours", Error(Code.UNAVAILABLE, "later"), Code.UNAVAILABLE, logged=True),
    Failure("a bug", ValueError("x"), Code.INTERNAL, logged=True),
    Failure("the server stops", ShuttingDown(), Code.UNAVAILABLE, logged=False),
    Failure("too many", RateLimited(1), Code.RESOURCE_EXHAUSTED, logged=False),
], ids=lambda case: case.id)  # fmt: skip
async def test_a_failure_becomes_a_status_and_a_server_failure_is_logged(
    case: Failure, method: Method
) -> None:
    log = RecordingLog()
    call = call_of(method)
    assert await recover(log)(failing(case.error), method)(call) is None
    assert call.error is not None
    assert call.error.code is case.code
    assert log.events("error") == ["call failed"] * case.logged


async def test_cancellation_is_not_recovered() -> None:
    with pytest.raises(asyncio.CancelledError):
        await recover(RecordingLog())(failing(asyncio.CancelledError()), UNARY)(call_of(UNARY))


# --- authenticate


@dataclass(frozen=True)
class RefusedCall:
    id: str
    metadata: tuple[tuple[str, str], ...]
    error: type[Error] = Unauthorized


REFUSED = [
    RefusedCall("no token", ()),
    RefusedCall("no scheme", (("authorization", "good"),)),
    RefusedCall("another scheme", (("authorization", "Basic good"),)),
    RefusedCall("an unknown token", (("authorization", "Bearer bad"),)),
    RefusedCall("nothing", (("authorization", ""),)),
    RefusedCall("no ASCII", (("authorization", "Bearer goöd"),)),
    RefusedCall("two tokens", (("authorization", "Bearer good"), ("authorization", "Bearer good"))),
    RefusedCall("without the scope", (("authorization", "Bearer poor"),), PermissionDenied),
]


def tokens() -> Tokens:
    return Tokens({"good": Caller(), "poor": Caller(scopes=frozenset({"shop:look"}))})


@both
@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
async def test_a_call_without_what_it_needs_is_refused(case: RefusedCall, method: Method) -> None:
    wrapped = authenticate(tokens(), ManualClock(0.0))(failing(AssertionError()), method)
    with pytest.raises(case.error):
        await wrapped(call_of(method, *case.metadata))


@both
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_good_token_puts_its_caller_on_the_call(scheme: str, method: Method) -> None:
    call = call_of(method, ("authorization", f"{scheme} good"))
    assert await authenticate(tokens(), ManualClock(0.0))(ok, method)(call) == b"ok"
    assert call.caller.subject == "ada"


@both
async def test_too_many_failures_have_no_line_each(method: Method) -> None:
    clock, log = ManualClock(), RecordingLog()
    failures = FailureLimit(RateLimiter(clock, rate=1, burst=2), log, clock)
    wrapped = access_log(log)(
        recover(log)(authenticate(tokens(), clock, failures)(ok, method), method), method
    )
    calls = [call_of(method, ("authorization", "Bearer bad")) for _ in range(5)]
    for call in calls:
        await wrapped(call)
    refused = [Code.RESOURCE_EXHAUSTED] * 3
    assert [call.outcome for call in calls] == [Code.UNAUTHENTICATED] * 2 + refused
    assert log.events("info") == ["call completed"] * 2
    assert log.events("warning") == ["requests refused for failed authentication"]


async def test_a_public_method_verifies_nothing() -> None:
    call = call_of(PUBLIC)
    assert authenticate(tokens(), ManualClock(0.0))(ok, PUBLIC) is ok
    with pytest.raises(Unauthorized):
        _ = call.caller


async def test_a_stream_ends_when_its_token_expires() -> None:
    wrapped = authenticate(tokens(), ManualClock(99.99))(forever, STREAM)
    with pytest.raises(Unauthorized, match="expired"):
        await wrapped(call_of(STREAM, ("authorization", "Bearer good")))


async def test_a_stream_ends_when_its_token_is_not_accepted_any_more() -> None:
    accepted = tokens()
    wrapped = authenticate(accepted, ManualClock(0.0), recheck=0.01)(forever, STREAM)
    stream = asyncio.ensure_future(wrapped(call_of(STREAM, ("authorization", "Bearer good"))))
    await asyncio.wait([stream], timeout=0.05)
    assert not stream.done()
    del accepted.known["good"]
    with pytest.raises(Unauthorized, match="not accepted any more"):
        async with asyncio.timeout(5):
            await stream


async def test_a_timeout_inside_a_stream_is_not_taken_for_an_expired_token() -> None:
    wrapped = authenticate(tokens(), ManualClock(0.0))(failing(TimeoutError()), STREAM)
    with pytest.raises(TimeoutError):
        await wrapped(call_of(STREAM, ("authorization", "Bearer good")))


# --- deadline


async def left(call: Call) -> bytes | None:
    return str(remaining()).encode()


@pytest.mark.parametrize(("given", "low", "high"), [
    (None, 29, 30), (1000.0, 29, 30), (5.0, 4, 5), (0.5, 0, 0.5),
], ids=str)  # fmt: skip
async def test_the_deadline_is_the_clients_and_at_most_ours(
    given: float | None, low: float, high: float
) -> None:
    told = await deadline(30)(left, UNARY)(call_of(UNARY, left=given))
    assert told is not None
    assert low <= float(told) <= high


@pytest.mark.parametrize("given", [None, 0.001], ids=["ours", "the client's"])
async def test_a_call_that_takes_longer_is_cancelled(given: float | None) -> None:
    with pytest.raises(Error) as caught:
        await deadline(0.01)(forever, UNARY)(call_of(UNARY, left=given))
    assert caught.value.code is Code.DEADLINE_EXCEEDED


async def test_the_clients_deadline_is_named_as_the_clients() -> None:
    with pytest.raises(Error) as caught:
        await deadline(30)(forever, UNARY)(call_of(UNARY, left=0.01))
    assert caught.value.message == (
        "the call took longer than the 0.01s set by the client (grpc-timeout)"
    )


@pytest.mark.parametrize(("given", "level"), [(0.01, "warning"), (None, "error")])
async def test_a_short_deadline_of_the_client_is_only_a_warning(
    given: float | None, level: str
) -> None:
    log = RecordingLog()
    wrapped = recover(log)(deadline(0.02)(forever, UNARY), UNARY)
    call = call_of(UNARY, left=given)
    await wrapped(call)
    assert call.error is not None
    assert call.error.code is Code.DEADLINE_EXCEEDED
    assert log.events(level) == ["call failed"]
    assert len(log.lines) == 1


async def test_a_stream_has_no_deadline() -> None:
    assert deadline(30)(ok, STREAM) is ok


# --- rate limit


async def test_callers_have_buckets_and_addresses_have_others() -> None:
    limiter = RateLimiter(ManualClock(0.0), rate=1, burst=1)
    wrapped = rate_limit(RateLimits(limiter))(ok, UNARY)

    def named(subject: str) -> Call:
        call = call_of(UNARY)
        call.caller = Caller(subject)
        return call

    assert await wrapped(named("ada")) == b"ok"
    assert await wrapped(named("bob")) == b"ok"
    assert await wrapped(call_of(UNARY)) == b"ok"
    for call in (named("ada"), call_of(UNARY)):
        with pytest.raises(RateLimited) as caught:
            await wrapped(call)
        assert caught.value.retry_after == pytest.approx(1.0)
    assert not limiter.take("principal ada").allowed, "the bucket that HTTP takes from"


async def test_a_method_counts_with_the_http_routes_of_its_scope() -> None:
    own = RateLimiter(ManualClock(0.0), rate=1, burst=1)
    limits = RateLimits(None, by_scope={"things:write": own})
    wrapped = rate_limit(limits)(ok, Method("/x/Write", scopes=frozenset({"things:write"})))
    assert own.take(f"things:write address {call_of(UNARY).client}").allowed
    with pytest.raises(RateLimited):
        await wrapped(call_of(UNARY))
    assert rate_limit(limits)(ok, UNARY) is ok


# --- streams


WATCH = Method("/shop.v1.Shop/WatchHours", streams=True, public=True)


async def opened(
    streams: OpenStreams, method: Method = STREAM, client: str = "192.0.2.7"
) -> asyncio.Task[bytes | None]:
    before = len(streams)
    call = Call(method, b"", FakeContext(client=client))
    task = asyncio.ensure_future(streams.intercept(forever, method)(call))
    await until(lambda: len(streams) > before)
    return task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)


def open_streams(limit: int = 10) -> OpenStreams:
    return OpenStreams(limit=limit, public_limit=4, client_limit=2)


async def test_one_stream_too_many_is_refused_until_another_ends() -> None:
    streams = open_streams(2)
    first, second = await opened(streams), await opened(streams)
    with pytest.raises(Error) as caught:
        await streams.intercept(forever, STREAM)(call_of(STREAM))
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    first.cancel()
    await asyncio.wait({first})
    third = await opened(streams)
    for task in (second, third):
        task.cancel()
    await asyncio.wait({second, third})
    assert len(streams) == 0


async def test_all_streams_end_together_and_none_is_accepted_until_opened_again() -> None:
    streams = open_streams()
    tasks: list[Awaitable[bytes | None]] = [await opened(streams) for _ in range(3)]
    streams.close()
    streams.close()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(outcome, ShuttingDown)
    with pytest.raises(ShuttingDown):
        await streams.intercept(ok, STREAM)(call_of(STREAM))
    streams.open()
    assert await streams.intercept(ok, STREAM)(call_of(STREAM)) == b"ok"
    assert streams.intercept(ok, UNARY) is ok


async def test_a_timeout_inside_a_stream_is_not_taken_for_its_end() -> None:
    with pytest.raises(TimeoutError):
        await open_streams().intercept(failing(TimeoutError()), STREAM)(call_of(STREAM))


async def test_public_streams_have_a_number_of_their_own_and_each_address_a_part_of_it() -> None:
    streams = open_streams(1)
    tasks = [await opened(streams, WATCH, client) for client in ("a", "a", "b", "b")]
    for client in ("a", "c"):
        with pytest.raises(Error, match="without a token") as caught:
            call = Call(WATCH, b"", FakeContext(client=client))
            await streams.intercept(forever, WATCH)(call)
        assert caught.value.code is Code.RESOURCE_EXHAUSTED
    tasks.append(await opened(streams))  # a caller with a token has a place
    tasks[0].cancel()
    await asyncio.wait({tasks[0]})
    tasks.append(await opened(streams, WATCH, "a"))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert len(streams) == 0
