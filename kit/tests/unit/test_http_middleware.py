"""Each middleware, as clients and operators see it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.concurrency.deadline import remaining
from paceline.edge import FailureLimit
from paceline.errors import Code, Error, NotFound, Unauthorized
from paceline.http.app import App
from paceline.http.asgi import ASGIApp, Message, Middleware, Receive, Scope, Send
from paceline.http.binding import Body, Provided
from paceline.http.middleware import (
    access_log,
    authenticate,
    rate_limit,
    real_ip,
    recover,
    request_id,
    timeout,
)
from paceline.http.testing import TestClient, TestResponse
from paceline.log.context import current_fields
from paceline.resilience.rate_limit import RateLimitDecision, RateLimiter, RateLimits
from paceline.testing import RecordingLog
from paceline.testing.clock import ManualClock


async def nothing() -> None:
    return None


def app_of(*middleware: Middleware, handler: Callable[[], Awaitable[object]] = nothing) -> App:
    app = App(*middleware)
    app.group().get("/", handler)
    return app


def grouped(*middleware: Middleware) -> App:
    """A group's middleware, inside the application's."""
    app = App()
    app.group("", *middleware).get("/", nothing)
    return app


async def forever() -> None:
    await asyncio.Event().wait()


async def answer(*middleware: Middleware, **headers: str) -> TestResponse:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return await TestClient(app_of(*middleware), headers=sent).get("/")


class TestRequestId:
    async def test_every_request_has_its_own(self) -> None:
        client = TestClient(app_of(request_id()))
        ids = {(await client.get("/")).headers["x-request-id"] for _ in range(100)}
        assert len(ids) == 100

    async def test_a_callers_plain_id_is_kept(self) -> None:
        found = await answer(request_id(), x_request_id="abc-123")
        assert found.headers["x-request-id"] == "abc-123"

    @pytest.mark.parametrize("bad", ["", "a b", "a\nb", "é", "x" * 65, '"', "<script>"])
    async def test_anything_else_is_replaced(self, bad: str) -> None:
        found = await answer(request_id(), x_request_id=bad)
        assert found.headers["x-request-id"] != bad

    async def test_it_is_in_the_problem_and_in_the_log_lines(self) -> None:
        seen: list[object] = []

        async def fail() -> None:
            seen.append(dict(current_fields()))
            raise NotFound

        found = await TestClient(app_of(request_id(), handler=fail)).get("/")
        assert found.json()["request_id"] == found.headers["x-request-id"]
        assert seen == [{"request_id": found.headers["x-request-id"]}]
        assert dict(current_fields()) == {}


class TestRealIp:
    async def client_seen(
        self,
        trusted: list[str],
        peer: str,
        forwarded: list[str],
        name: bytes = b"x-forwarded-for",
    ) -> str:
        seen: list[str] = []

        def look(inner: object) -> object:
            async def run(scope: Scope, _receive: Receive, send: Send) -> None:
                seen.append(scope["client"][0])
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b""})

            return run

        app = app_of(real_ip(trusted), look)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        headers = [(name, value.encode()) for value in forwarded]
        await TestClient(app, address=peer).request("GET", "/", header_list=headers)
        return seen[0]

    @dataclass(frozen=True)
    class Case:
        id: str
        forwarded: list[str]
        client: str
        peer: str = "10.0.0.1"

    @pytest.mark.parametrize(
        "case",
        [
            Case("no header", [], "10.0.0.1"),
            Case("from the proxy", ["198.51.100.7"], "198.51.100.7"),
            Case("from anybody else", ["198.51.100.7"], "203.0.113.9", peer="203.0.113.9"),
            Case("spoofed by the client", ["1.2.3.4, 198.51.100.7"], "198.51.100.7"),
            Case("through two proxies", ["198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            Case("in two headers", ["1.2.3.4, 198.51.100.7", "10.0.0.2"], "198.51.100.7"),
            Case("rubbish", ["rubbish"], "10.0.0.1"),
            Case("rubbish before", ["rubbish, 198.51.100.7"], "198.51.100.7"),
            Case("only proxies", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            Case("IPv6", ["2001:db8::1"], "2001:db8::1"),
            Case("empty", [""], "10.0.0.1"),
            Case("with a port", ["203.0.113.7:51234"], "203.0.113.7"),
            Case("IPv6 with a port", ["[2001:db8::1]:443"], "2001:db8::1"),
            Case("IPv6 in brackets", ["[2001:DB8::1]"], "2001:db8::1"),
            Case("mapped IPv4", ["::ffff:1.2.3.4"], "1.2.3.4"),
            Case("mapped IPv4 with a port", ["[::ffff:1.2.3.4]:80"], "1.2.3.4"),
            Case("a zone", ["fe80::1%eth0"], "fe80::1"),
            Case("a zone in brackets", ["[fe80::1%eth0]:443"], "fe80::1"),
            Case("proxies with ports", ["198.51.100.7:1, 10.0.0.2:80"], "198.51.100.7"),
            Case("a mapped proxy", ["198.51.100.7"], "198.51.100.7", peer="::ffff:10.0.0.1"),
            Case("a port that is none", ["198.51.100.7:http"], "10.0.0.1"),
        ],
        ids=lambda case: case.id,
    )
    async def test_only_trusted_proxies_are_believed(self, case: Case) -> None:
        seen = await self.client_seen(["10.0.0.0/8"], case.peer, case.forwarded)
        assert seen == case.client

    @pytest.mark.parametrize(
        "case",
        [
            Case("for", ["for=198.51.100.7"], "198.51.100.7"),
            Case("with more", ["For=198.51.100.7;proto=https;by=10.0.0.1"], "198.51.100.7"),
            Case("not first", ["proto=https; for=198.51.100.7:80"], "198.51.100.7"),
            Case("IPv6", ['for="[2001:db8::1]:443"'], "2001:db8::1"),
            Case("two proxies", ['for=198.51.100.7, for="10.0.0.2:1"'], "198.51.100.7"),
            Case("spoofed", ["for=1.2.3.4, for=198.51.100.7"], "198.51.100.7"),
            Case("hidden", ["for=198.51.100.7, for=_hidden"], "10.0.0.1"),
            Case("unknown", ["for=unknown"], "10.0.0.1"),
            Case("without", ["proto=https"], "10.0.0.1"),
            Case("from anybody", ["for=1.2.3.4"], "203.0.113.9", peer="203.0.113.9"),
        ],
        ids=lambda case: case.id,
    )
    async def test_the_standard_header_is_understood_too(self, case: Case) -> None:
        seen = await self.client_seen(["10.0.0.0/8"], case.peer, case.forwarded, b"forwarded")
        assert seen == case.client

    async def test_without_trusted_proxies_the_header_means_nothing(self) -> None:
        assert await self.client_seen([], "10.0.0.1", ["198.51.100.7"]) == "10.0.0.1"

    def test_what_is_no_network_is_refused_at_start_up(self) -> None:
        with pytest.raises(ValueError, match="proxy"):
            real_ip(["proxy"])

    @given(st.text(alphabet="0123456789., abc:", max_size=40))
    async def test_a_client_never_chooses_the_address_behind_a_proxy(self, claim: str) -> None:
        seen = await self.client_seen(["10.0.0.0/8"], "10.0.0.1", [f"{claim}, 198.51.100.7"])
        assert seen == "198.51.100.7"


class TestAccessLog:
    async def test_a_request_is_one_line(self) -> None:
        async def greet() -> dict[str, str]:
            return {"hello": "world"}

        log = RecordingLog()
        await TestClient(app_of(access_log(log), handler=greet)).get("/?token=secret")
        ((level, event, fields),) = log.lines
        assert (level, event) == ("info", "request completed")
        assert isinstance(fields.pop("duration_ms"), float)
        assert fields == {
            "method": "GET",
            "path": "/",
            "status": 200,
            "bytes": 17,
            "client": "127.0.0.1",
        }

    async def test_probes_are_logged_at_debug_level(self) -> None:
        log = RecordingLog()
        await TestClient(app_of(access_log(log, debug_paths=["/"]))).get("/")
        assert log.events("debug") == ["request completed"]
        assert log.events("info") == []

    async def test_a_client_that_disconnects_is_499(self) -> None:
        log = RecordingLog()
        reached = asyncio.Event()

        async def wait() -> None:
            reached.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(TestClient(app_of(access_log(log), handler=wait)).get("/"))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [fields["status"] for _, _, fields in log.lines] == [499]


class TestRecover:
    async def test_an_unknown_exception_shows_a_fixed_text_and_is_logged_once(self) -> None:
        async def fail() -> None:
            raise RuntimeError("the password is hunter2")

        log = RecordingLog()
        found = await TestClient(app_of(recover(log), handler=fail)).get("/")
        assert found.status == 500
        assert found.json()["detail"] == "internal error"
        assert b"hunter2" not in found.body
        ((level, event, fields),) = log.lines
        assert (level, event) == ("error", "request failed")
        assert isinstance(fields["error"], RuntimeError)

    async def test_a_known_server_error_shows_its_message_and_is_logged_once(self) -> None:
        async def fail() -> None:
            raise Error(Code.UNAVAILABLE, "the database is unavailable")

        log = RecordingLog()
        found = await TestClient(app_of(recover(log), handler=fail)).get("/")
        assert (found.status, found.json()["detail"]) == (503, "the database is unavailable")
        assert log.events("error") == ["request failed"]

    async def test_a_callers_mistake_is_not_logged_as_an_error(self) -> None:
        async def fail() -> None:
            raise NotFound

        log = RecordingLog()
        assert (await TestClient(app_of(recover(log), handler=fail)).get("/")).status == 404
        assert log.lines == []

    async def test_an_error_after_the_start_of_a_response_is_left_to_the_server(self) -> None:
        def torn(_app: ASGIApp) -> ASGIApp:
            async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                raise RuntimeError("too late")

            return answer

        log = RecordingLog()
        with pytest.raises(RuntimeError, match="too late"):
            await TestClient(App(recover(log), torn)).get("/")
        assert [fields["response_started"] for _, _, fields in log.lines] == [True]


class TestTimeout:
    async def test_a_request_that_takes_too_long_is_ended_with_504(self) -> None:
        ended: list[str] = []

        async def hang() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        log = RecordingLog()
        found = await TestClient(app_of(recover(log), timeout(0.01), handler=hang)).get("/")
        assert (found.status, found.json()["code"]) == (504, "DEADLINE_EXCEEDED")
        assert log.events("error") == ["request failed"]
        assert ended == ["cancelled"]

    async def test_the_handler_can_read_the_remaining_time(self) -> None:
        async def left() -> bool:
            seconds = remaining()
            return seconds is not None and 29 < seconds <= 30

        assert (await TestClient(app_of(timeout(30), handler=left)).get("/")).json() is True


@dataclass(frozen=True)
class ClientTimeout:
    id: str
    headers: dict[str, str]
    seconds: float
    by: str


SHORTER = [
    ClientTimeout("seconds", {"request-timeout": "0.02"}, 0.02, "Request-Timeout"),
    ClientTimeout("grpc's", {"grpc-timeout": "20m"}, 0.02, "grpc-timeout"),
    ClientTimeout("Envoy's", {"x-envoy-expected-rq-timeout-ms": "20"}, 0.02, "X-Envoy-Expected-Rq-Timeout-Ms"),
    ClientTimeout("the shortest", {"request-timeout": "9", "grpc-timeout": "20000u"}, 0.02, "grpc-timeout"),
]  # fmt: skip
CAPPED = [
    ClientTimeout("longer", {"request-timeout": "3600"}, 30, ""),
    ClientTimeout("hours", {"grpc-timeout": "1H"}, 30, ""),
    ClientTimeout("minutes", {"grpc-timeout": "1M"}, 30, ""),
    ClientTimeout("shorter", {"request-timeout": "10.5"}, 10.5, ""),
    ClientTimeout("grpc's seconds", {"grpc-timeout": "10S"}, 10, ""),
    ClientTimeout("nanoseconds", {"grpc-timeout": "99999999n"}, 0.1, ""),
    ClientTimeout("none", {}, 30, ""),
]
MEANINGLESS = [
    {name: value}
    for name, values in {
        "request-timeout": ["", "soon", "-1", "0", "0.0", "1e3", "inf", "nan", "1s", "9" * 9, "½"],
        "grpc-timeout": ["", "5", "5s", "0m", "123456789m", "-5m"],
        "x-envoy-expected-rq-timeout-ms": ["", "0", "1.5", "-1", "x"],
    }.items()
    for value in values
]


class TestClientTimeout:
    @pytest.mark.parametrize("case", SHORTER, ids=lambda case: case.id)
    async def test_it_ends_the_request_and_the_problem_names_its_header(
        self, case: ClientTimeout
    ) -> None:
        log = RecordingLog()
        app = app_of(recover(log), timeout(30), handler=forever)
        found = await TestClient(app, headers=case.headers).get("/")
        assert found.status == 504
        assert [level for level, _, _ in log.lines] == ["warning"]
        assert found.json()["detail"] == (
            f"the request took longer than the {case.seconds:g}s set by the client ({case.by})"
        )

    @pytest.mark.parametrize("case", CAPPED, ids=lambda case: case.id)
    async def test_it_never_prolongs(self, case: ClientTimeout) -> None:
        async def left() -> float | None:
            return remaining()

        found = await TestClient(app_of(timeout(30), handler=left), headers=case.headers).get("/")
        assert case.seconds - 0.1 < found.json() <= case.seconds

    @pytest.mark.parametrize("headers", MEANINGLESS, ids=str)
    async def test_a_meaningless_value_is_refused(self, headers: dict[str, str]) -> None:
        app = app_of(recover(RecordingLog()), timeout(30), handler=nothing)
        found = await TestClient(app, headers=headers).get("/")
        assert (found.status, found.json()["code"]) == (400, "INVALID_ARGUMENT")
        assert found.json()["detail"].lower().startswith(f"{next(iter(headers))}: expected ")

    async def test_a_body_that_does_not_come_is_named(self) -> None:
        async def echo(body: Body[dict[str, int]]) -> dict[str, int]:
            return body

        app = App(recover(RecordingLog()), timeout(0.01, set_by="the service (TIMEOUT)"))
        app.group().post("/", echo)
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
        scope = {
            "type": "http", "method": "POST", "path": "/", "raw_path": b"/", "query_string": b"",
            "headers": headers,
        }  # fmt: skip
        await app(scope, cast("Receive", asyncio.Event().wait), send)
        assert msgspec.json.decode(sent[1]["body"])["detail"] == (
            "reading the request's body exceeded the 0.01s set by the service (TIMEOUT)"
        )


class Ada(msgspec.Struct, frozen=True):
    """The caller of the fake verifier's good token."""

    subject: str = "ada"
    scopes: frozenset[str] = frozenset({"read"})
    expires_at: float = 0.0


class FakeVerifier:
    """Accepts the token ``good``."""

    def verify(self, token: str) -> Ada:
        if token != "good":
            raise Unauthorized('the token "expired"')
        return Ada()

    def recall(self, token: str) -> Ada | None:
        return Ada() if token == "seen" else None


class TestAuthenticate:
    async def test_a_good_token_gives_the_handler_its_principal(self) -> None:
        async def who(principal: Provided[Ada]) -> str:
            return principal.subject

        app = App()
        app.group("", authenticate(FakeVerifier())).get("/", who, scopes=["read"])
        for scheme in ["Bearer", "bearer", "BEARER"]:
            found = await TestClient(app).get("/", headers={"authorization": f"{scheme} good"})
            assert found.json() == "ada"

    async def test_without_a_token_the_challenge_names_the_scheme(self) -> None:
        found = await TestClient(grouped(authenticate(FakeVerifier()))).get("/")
        assert (found.status, found.headers["www-authenticate"]) == (401, "Bearer")

    @pytest.mark.parametrize(
        "value", ["", "good", "Basic Z29vZA==", "Bearer", "Bearer bad", "Bearer é"]
    )
    async def test_anything_else_is_refused_with_a_challenge(self, value: str) -> None:
        client = TestClient(grouped(authenticate(FakeVerifier())))
        found = await client.get("/", headers={"authorization": value})
        assert found.status == 401
        assert found.headers["www-authenticate"].startswith('Bearer error="invalid_token"')

    async def test_a_reason_cannot_break_out_of_the_challenge(self) -> None:
        client = TestClient(grouped(authenticate(FakeVerifier())))
        found = await client.get("/", headers={"authorization": "Bearer bad"})
        assert found.headers["www-authenticate"] == (
            'Bearer error="invalid_token", error_description="the token \'expired\'"'
        )

    async def test_two_authorization_headers_are_refused(self) -> None:
        twice = [(b"authorization", b"Bearer bad"), (b"authorization", b"Bearer good")]
        app = grouped(authenticate(FakeVerifier()))
        assert (await TestClient(app).request("GET", "/", header_list=twice)).status == 401

    async def test_too_many_failures_are_429_without_a_line_each(self) -> None:
        clock, log = ManualClock(), RecordingLog()
        failures = FailureLimit(RateLimiter(clock, rate=1, burst=2), log, clock)
        app = App(access_log(log), recover(log))
        app.group("", authenticate(FakeVerifier(), failures)).get("/", nothing)
        bad = TestClient(app, headers={"authorization": "Bearer bad"})
        answers = [await bad.get("/") for _ in range(5)]
        assert [answer.status for answer in answers] == [401, 401, 429, 429, 429]
        assert answers[2].headers["retry-after"] == "1"
        known = TestClient(app, headers={"authorization": "Bearer seen"})
        assert (await known.get("/")).status == 200
        assert log.events("info") == ["request completed"] * 3
        assert log.events("warning") == ["requests refused for failed authentication"]


class TestRateLimit:
    def limiter(self, clock: ManualClock) -> RateLimiter:
        return RateLimiter(clock, rate=1, burst=2)

    async def test_beyond_the_limit_is_429_with_a_time_to_retry(self) -> None:
        clock = ManualClock()
        client = TestClient(grouped(rate_limit(RateLimits(self.limiter(clock)))))
        answers = [await client.get("/") for _ in range(3)]
        assert [a.status for a in answers] == [200, 200, 429]
        assert [a.headers["ratelimit-remaining"] for a in answers] == ["1", "0", "0"]
        assert {a.headers["ratelimit-limit"] for a in answers} == {"2"}
        assert answers[2].headers["retry-after"] == "1"
        assert answers[2].json()["code"] == "RESOURCE_EXHAUSTED"
        clock.advance(1)
        assert (await client.get("/")).status == 200

    async def test_each_address_has_its_own_bucket(self) -> None:
        app = grouped(rate_limit(RateLimits(self.limiter(ManualClock()))))
        for address in ["192.0.2.1", "192.0.2.2"]:
            client = TestClient(app, address=address)
            assert [(await client.get("/")).status for _ in range(3)] == [200, 200, 429]

    async def test_a_principal_has_one_bucket_for_all_addresses(self) -> None:
        limiter = self.limiter(ManualClock())
        app = grouped(authenticate(FakeVerifier()), rate_limit(RateLimits(limiter)))
        headers = {"authorization": "Bearer good"}
        statuses = [
            (await TestClient(app, address=f"192.0.2.{n}", headers=headers).get("/")).status
            for n in range(3)
        ]
        assert statuses == [200, 200, 429]

    async def test_a_limiter_may_answer_later(self) -> None:
        class Later:
            def __init__(self, limiter: RateLimiter) -> None:
                self.limiter = limiter

            async def take(self, key: str) -> RateLimitDecision:
                await asyncio.sleep(0)
                return self.limiter.take(key)

        client = TestClient(grouped(rate_limit(RateLimits(Later(self.limiter(ManualClock()))))))
        answers = [await client.get("/") for _ in range(3)]
        assert [a.status for a in answers] == [200, 200, 429]
        assert [a.headers["ratelimit-remaining"] for a in answers] == ["1", "0", "0"]
        assert answers[2].headers["retry-after"] == "1"

    async def test_groups_of_routes_have_buckets_of_their_own_in_one_limiter(self) -> None:
        limiter = self.limiter(ManualClock())
        one, two = (
            TestClient(grouped(rate_limit(RateLimits(limiter, group=name))))
            for name in ("one", "two")
        )
        statuses = [(await client.get("/")).status for client in (one, one, one, two, two, two)]
        assert statuses == [200, 200, 429] * 2

    async def test_a_route_is_counted_by_the_scope_it_needs(self) -> None:
        async def hello() -> str:
            return "hello"

        own = self.limiter(ManualClock())
        limits = RateLimits(
            RateLimiter(ManualClock(), rate=3), group="api", by_scope={"write": own}
        )
        app = App()
        api = app.group("", authenticate(FakeVerifier()), rate_limit(limits))
        api.get("/things", hello, scopes=["read"])
        api.post("/things", hello, scopes=["write"])
        client = TestClient(app, headers={"authorization": "Bearer good"})
        writes = [await client.post("/things", b"") for _ in range(3)]
        assert [a.status for a in writes] == [403, 403, 429]
        assert writes[2].headers["ratelimit-limit"] == "2"
        read = await client.get("/things")
        assert (read.status, read.headers["ratelimit-remaining"]) == (200, "5")

    async def test_without_a_general_limit_nothing_else_is_counted(self) -> None:
        limits = RateLimits(None, by_scope={"things:write": self.limiter(ManualClock())})
        client = TestClient(grouped(rate_limit(limits)))
        answers = [await client.get("/") for _ in range(3)]
        assert [a.status for a in answers] == [200] * 3
        assert "ratelimit-limit" not in answers[0].headers
