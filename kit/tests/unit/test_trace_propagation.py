"""Trace propagation: requests, calls and messages continue their trace, and log its ids."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from recorded_spans import RecordedSpans
from rpc_echo import FakeContext

from paceline.coalesce import ReadCoalescer
from paceline.errors import Code, Error, NotFound
from paceline.grpc.call import Call, Endpoint, ErrorStatus, Method
from paceline.grpc.interceptors import trace as rpc_trace
from paceline.http.app import App
from paceline.http.binding import Path
from paceline.http.middleware import recover, request_id, trace
from paceline.http.testing import TestClient
from paceline.log.context import current_fields as log_fields
from paceline.messaging import Incoming, Message
from paceline.messaging.spans import ProcessSpans, PublishSpans
from paceline.postgres.spans import summary_of
from paceline.testing import RecordingLog
from paceline.trace import (
    BatchSpans,
    SpanContext,
    SpanKind,
    attach,
    current_context,
    detach,
    propagation_headers,
    span,
)

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"


class Echo:
    """Handlers that return the ambient span context, and the fields of their log records."""

    async def get(self, id: Path[str]) -> dict[str, str]:  # noqa: A002 - the path's name
        fields = {name: str(value) for name, value in log_fields().items()}
        return {**propagation_headers(), **fields}

    async def health(self) -> dict[str, str]:
        return propagation_headers()

    async def fail(self) -> None:
        raise ValueError("a secret")

    async def miss(self) -> None:
        raise NotFound("a secret")


def app(recorded: RecordedSpans, ratio: float = 1.0) -> App:
    made = App(
        request_id(), trace(recorded.tracer(ratio), skip_paths=["/health"]), recover(RecordingLog())
    )
    echo, group = Echo(), made.group("/api")
    group.get("/things/{id}", echo.get)
    group.get("/fail", echo.fail)
    group.get("/miss", echo.miss)
    made.group().get("/health", echo.health)
    return made


async def get(made: App, path: str, **headers: str) -> dict[str, str]:
    response = await TestClient(made, headers=headers).get(path)
    answer: dict[str, str] = msgspec.json.decode(response.body)
    return answer


class TestRequests:
    async def test_a_sampled_request_has_a_span_named_by_its_route(self) -> None:
        recorded = RecordedSpans()
        answer = await get(app(recorded), "/api/things/7", traceparent=SAMPLED, tracestate="v=1")
        server = recorded.named("GET /api/things/{id}")
        handler = recorded.named("Echo.get")
        assert (server.trace_id, server.parent_id, server.kind) == (TRACE, PARENT, SpanKind.SERVER)
        assert handler.parent_id == server.span_id
        assert answer["traceparent"] == handler.traceparent
        assert answer["tracestate"] == "v=1"
        assert (answer["trace_id"], answer["span_id"]) == (TRACE, server.span_id)
        assert "request_id" in answer
        assert server.attributes.items() >= {
            "http.request.method": "GET",
            "http.route": "/api/things/{id}",
            "http.response.status_code": 200,
            "url.path": "/api/things/7",
        }.items()  # fmt: skip
        assert not server.failed

    async def test_an_unsampled_one_has_ids_and_no_span(self) -> None:
        recorded = RecordedSpans()
        answer = await get(app(recorded), "/api/things/7", traceparent=UNSAMPLED)
        assert answer["traceparent"] == UNSAMPLED
        assert answer["trace_id"] == TRACE
        assert "span_id" not in answer
        assert recorded.spans == []

    async def test_one_without_a_trace_begins_one(self) -> None:
        recorded = RecordedSpans()
        one, other = [await get(app(recorded, 0.0), "/api/things/7") for _ in range(2)]
        assert one["trace_id"] != other["trace_id"]
        assert one["traceparent"].endswith("-00")
        assert recorded.spans == []

    async def test_after_a_request_nothing_is_ambient(self) -> None:
        await get(app(RecordedSpans()), "/api/things/7")
        assert current_context() is None
        assert log_fields() == {}

    @pytest.mark.parametrize(
        ("path", "name", "status", "failed"),
        [
            ("/api/fail", "GET /api/fail", 500, True),
            ("/api/miss", "GET /api/miss", 404, False),
            ("/nowhere/7", "GET", 404, False),
        ],
    )
    async def test_only_server_errors_fail_a_span(
        self,
        path: str,
        name: str,
        status: int,
        failed: bool,  # noqa: FBT001 - a table's column
    ) -> None:
        recorded = RecordedSpans()
        await get(app(recorded), path)
        server = recorded.named(name)
        assert (server.attributes["http.response.status_code"], server.failed) == (status, failed)
        assert all("secret" not in str(each.attributes) for each in recorded.spans)

    async def test_a_probe_has_no_trace(self) -> None:
        recorded = RecordedSpans()
        assert "traceparent" not in await get(app(recorded), "/health", traceparent=SAMPLED)
        assert recorded.spans == []

    async def test_a_header_that_occurs_twice_is_ignored(self) -> None:
        recorded = RecordedSpans()
        scope = [(b"traceparent", SAMPLED.encode()), (b"traceparent", SAMPLED.encode())]
        sent: list[object] = []

        async def receive() -> dict[str, object]:
            return {"type": "http.request"}

        async def send(message: object) -> None:
            sent.append(message)

        await app(recorded)(
            {"type": "http", "method": "GET", "path": "/api/things/7", "headers": scope,
             "raw_path": b"/api/things/7", "query_string": b""}, receive, send,
        )  # fmt: skip
        assert recorded.named("GET /api/things/{id}").trace_id != TRACE


class TestCalls:
    """Over gRPC."""

    method = Method("/shop.v1.Shop/Buy")

    async def call(
        self,
        recorded: RecordedSpans,
        *metadata: tuple[str, str],
        endpoint: Endpoint | None = None,
    ) -> dict[str, str]:
        seen: dict[str, str] = {}

        async def look(call: Call) -> bytes | None:
            seen.update(
                propagation_headers(), **{name: str(value) for name, value in log_fields().items()}
            )
            return b""

        wrapped = rpc_trace(recorded.tracer(), skip_paths=["/quiet"])(endpoint or look, self.method)
        await wrapped(Call(self.method, b"", FakeContext([*metadata])))
        return seen

    async def test_a_sampled_call_has_a_span_named_by_its_method(self) -> None:
        recorded = RecordedSpans()
        seen = await self.call(recorded, ("traceparent", SAMPLED), ("tracestate", "v=1"))
        made = recorded.named("shop.v1.Shop/Buy")
        assert (made.trace_id, made.parent_id, made.kind) == (TRACE, PARENT, SpanKind.SERVER)
        assert seen == {**made.headers(), "trace_id": TRACE, "span_id": made.span_id}
        assert (
            made.attributes.items()
            >= {
                "rpc.system.name": "grpc",
                "rpc.method": "shop.v1.Shop/Buy",
                "rpc.response.status_code": "OK",
            }.items()
        )
        assert log_fields() == {}

    async def test_an_unsampled_one_has_ids_and_no_span(self) -> None:
        recorded = RecordedSpans()
        seen = await self.call(recorded, ("traceparent", UNSAMPLED))
        assert seen == {"traceparent": UNSAMPLED, "trace_id": TRACE}
        assert recorded.spans == []

    @pytest.mark.parametrize(
        ("code", "failed"), [(Code.NOT_FOUND, False), (Code.UNAVAILABLE, True)], ids=str
    )
    async def test_only_server_errors_fail_a_span(self, code: Code, failed: bool) -> None:  # noqa: FBT001 - a table's column
        async def refuse(call: Call) -> bytes | None:
            call.error = ErrorStatus(code, "a secret", b"")
            return None

        recorded = RecordedSpans()
        await self.call(recorded, endpoint=refuse)
        made = recorded.named("shop.v1.Shop/Buy")
        assert (made.attributes["rpc.response.status_code"], made.failed) == (code.name, failed)

    def test_a_probe_has_no_trace(self) -> None:
        async def endpoint(call: Call) -> bytes | None:
            return b""

        wrap = rpc_trace(RecordedSpans().tracer(), skip_paths=["/quiet"])
        assert wrap(endpoint, Method("/quiet")) is endpoint


class TestBatches:
    async def test_a_call_that_shares_no_batch_has_the_batch_in_its_trace(self) -> None:
        recorded = RecordedSpans()
        reads = ReadCoalescer(self.fetch, name="reading", observer=BatchSpans())
        attach(recorded.tracer().enter("one", SpanKind.SERVER))
        assert await reads.call(1) == 1
        assert recorded.tree() == [("SELECT", "reading"), ("reading", "?")]
        assert recorded.named("reading").attributes.items() >= {
            "paceline.batch.items": 1, "paceline.batch.callers": 1,
        }.items()  # fmt: skip

    async def test_a_shared_batch_is_below_its_first_caller_and_linked_to_the_others(self) -> None:
        recorded = RecordedSpans()
        reads = ReadCoalescer(self.fetch, name="reading", observer=BatchSpans())
        roots: list[SpanContext] = []

        async def caller(key: int, ratio: float) -> None:
            root = recorded.tracer(ratio).enter(f"caller {key}", SpanKind.SERVER)
            roots.append(root)
            attach(root)
            assert await reads.call(key) == key

        async with asyncio.TaskGroup() as group:
            for key in range(4):
                group.create_task(caller(key, float(key != 1)))
        batch = recorded.named("reading")
        first, _, *others = roots
        assert batch.parent_id == first.span_id
        assert batch.links == others
        assert recorded.named("SELECT").parent_id == batch.span_id

    async def test_a_batch_without_a_recorded_caller_has_no_span(self) -> None:
        recorded = RecordedSpans()
        reads = ReadCoalescer(self.fetch, name="reading", observer=BatchSpans())
        attach(recorded.tracer(0.0).enter("one", SpanKind.SERVER))
        assert await reads.call(1) == 1
        assert recorded.spans == []

    async def fetch(self, keys: Sequence[int]) -> dict[int, int | Exception]:
        with span("SELECT", SpanKind.CLIENT):
            return {key: key for key in keys}


def message(number: int, **headers: str) -> Message:
    return Message("things.made", b"", str(number), headers=headers)


def incoming(number: int, **headers: str) -> Incoming[int]:
    return Incoming(str(number), "things.made", number, 1, headers)


class TestMessages:
    def test_a_sampled_message_is_sent_with_the_context_of_its_send_span(self) -> None:
        recorded = RecordedSpans()
        batch = [message(1, traceparent=SAMPLED, a="b"), message(2, traceparent=UNSAMPLED)]
        with PublishSpans(recorded.tracer(), "nats", [*batch, message(3)]) as spans:
            spans.record([None, None, None])
        sent = recorded.named("send things.made")
        assert (sent.trace_id, sent.parent_id, sent.kind) == (TRACE, PARENT, SpanKind.PRODUCER)
        assert [each.headers for each in spans.messages] == [
            {"traceparent": sent.traceparent, "a": "b"}, {"traceparent": UNSAMPLED}, {},
        ]  # fmt: skip
        assert batch[0].headers["traceparent"] == SAMPLED

    def test_a_message_without_a_context_gets_the_ambient_one(self) -> None:
        recorded = RecordedSpans()
        root = recorded.tracer().enter("root", SpanKind.SERVER)
        token = attach(root)
        with PublishSpans(recorded.tracer(), "nats", [message(1)]) as spans:
            spans.record([Error(Code.UNAVAILABLE, "a secret")])
        detach(token)
        sent = recorded.named("send things.made")
        assert sent.parent_id == root.span_id
        assert sent.failed
        assert sent.attributes["error.type"] == "UNAVAILABLE"
        assert spans.messages[0].headers == sent.headers()

    def test_without_a_tracer_messages_are_not_changed(self) -> None:
        batch = [message(1, traceparent=SAMPLED)]
        with PublishSpans(None, "nats", batch) as spans:
            assert spans.messages is batch

    def test_each_message_has_a_span_in_its_trace_and_shared_work_is_below_the_first(self) -> None:
        recorded = RecordedSpans()
        other = f"00-{'a' * 32}-{PARENT}-01"
        batch = [
            incoming(1, traceparent=UNSAMPLED),
            incoming(2, traceparent=SAMPLED),
            incoming(3, traceparent=other),
        ]
        with ProcessSpans(recorded.tracer(), "worker", batch) as spans:
            assert current_context() is not None
            with span("SELECT"):
                pass
            spans.record([None, None, ValueError("a secret")])
        select, first, second = recorded.spans
        assert (first.trace_id, first.parent_id) == (TRACE, PARENT)
        assert second.trace_id == "a" * 32
        assert select.parent_id == first.span_id
        assert (first.links, second.links) == ([second], [first])
        assert (first.failed, second.failed) == (False, True)

    def test_a_single_message_is_handled_in_its_trace_even_if_it_is_not_recorded(self) -> None:
        recorded = RecordedSpans()
        with ProcessSpans(recorded.tracer(), "worker", [incoming(1, traceparent=UNSAMPLED)]):
            assert propagation_headers() == {"traceparent": UNSAMPLED}
            assert log_fields() == {"trace_id": TRACE}
        assert current_context() is None
        assert recorded.spans == []

    def test_messages_without_a_trace_begin_one_each(self) -> None:
        recorded = RecordedSpans()
        with ProcessSpans(recorded.tracer(), "worker", [incoming(1), incoming(2)]):
            pass
        assert recorded.tree() == 2 * [("process things.made", "")]


@pytest.mark.parametrize(
    ("sql", "summary"),
    [
        ("SELECT id, name FROM records WHERE id = ANY($1::uuid[])", "SELECT records"),
        ("select a from unnest($1::int[]) as x (a) join things using (a)", "SELECT things"),
        ("SELECT id FROM orders ORDER BY id FOR NO KEY UPDATE", "SELECT orders"),
        ("INSERT INTO a.b (x) SELECT x FROM unnest($1::int[]) AS y (x)", "INSERT a.b"),
        ("INSERT INTO a (x) VALUES ($1) ON CONFLICT (x) DO UPDATE SET x = 1", "INSERT a"),
        ("WITH n AS (UPDATE a SET x = 1 RETURNING x) INSERT INTO b SELECT x FROM n", "UPDATE a INSERT b"),
        ("DELETE FROM things WHERE id = $1", "DELETE things"),
        ("WITH n AS (SELECT 1 FROM a) SELECT 1 FROM n", "SELECT a"),
        ("SELECT pg_notify($1, $2)", "SELECT"),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY", "BEGIN"),
        ("COMMIT", "COMMIT"),
        ("", "?"),
    ],
)  # fmt: skip
def test_a_statement_is_named_by_what_it_does_to_which_tables(sql: str, summary: str) -> None:
    assert summary_of(sql) == summary
