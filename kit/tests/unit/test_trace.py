"""Span contexts: parsed and formatted by the standard, sampled by the SDK's rule, ambient."""

import asyncio
import subprocess
import sys
from contextvars import Context
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from recorded_spans import RecordedSpans

from paceline.errors import Code, Error
from paceline.resilience import RateLimiter
from paceline.testing import ManualClock
from paceline.trace import (
    Span,
    SpanContext,
    SpanKind,
    Tracer,
    attach,
    current_context,
    detach,
    in_current_trace,
    is_sampled,
    propagation_headers,
    recording_span,
    shared_parent,
    span,
)
from paceline.trace.context import parse

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{SPAN}-01"


def digits(count: int) -> st.SearchStrategy[str]:
    return st.text("0123456789abcdef", min_size=count, max_size=count).filter(
        lambda text: text.strip("0") != ""
    )


@dataclass(frozen=True)
class Bad:
    id: str
    header: str


BAD = [
    Bad("empty", ""),
    Bad("another version's form", f"ff-{TRACE}-{SPAN}-01"),
    Bad("version 00 with more", f"{GIVEN}-extra"),
    Bad("capitals", GIVEN.upper()),
    Bad("no trace", f"00-{'0' * 32}-{SPAN}-01"),
    Bad("no span", f"00-{TRACE}-{'0' * 16}-01"),
    Bad("short", GIVEN[:-1]),
    Bad("a line end", f"{GIVEN}\n"),
    Bad("blanks", f" {GIVEN}"),
    Bad("no hexadecimal digit", f"00-{TRACE}-{SPAN}-0g"),
]


class TestParsing:
    @given(digits(32), digits(16), st.sampled_from(["00", "01", "02", "03"]))
    def test_what_is_parsed_is_formatted_the_same(self, trace: str, span: str, flags: str) -> None:
        context = parse(f"00-{trace}-{span}-{flags}", "a=1,b=2")
        assert context is not None
        assert context.headers() == {
            "traceparent": f"00-{trace}-{span}-{flags}", "tracestate": "a=1,b=2",
        }  # fmt: skip
        assert context.sampled == flags.endswith(("1", "3"))
        assert is_sampled(context.traceparent) == context.sampled

    @given(st.text())
    def test_any_text_is_parsed_to_a_context_or_none_without_an_error(self, text: str) -> None:
        context = parse(text, text)
        if context is not None:
            assert parse(context.traceparent) is not None
            assert len(context.state) <= 512
            assert context.state.isprintable() or "\t" in context.state

    @pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.id)
    def test_an_invalid_header_is_no_context(self, bad: Bad) -> None:
        assert parse(bad.header, "a=1") is None

    def test_of_a_later_version_the_known_fields_are_read(self) -> None:
        context = parse(f"cc-{TRACE}-{SPAN}-09-what-the-future-will-be-like")
        assert context is not None
        assert context.traceparent == GIVEN
        assert is_sampled(f"cc-{TRACE}-{SPAN}-09-what-the-future-will-be-like")

    @pytest.mark.parametrize("state", ["a=1\x00", "a=" + 600 * "x", ",".join(40 * ["a=1"]), "ä=1"])
    def test_a_state_that_need_not_be_passed_on_is_dropped_by_itself(self, state: str) -> None:
        context = parse(GIVEN, state)
        assert context is not None
        assert context.headers() == {"traceparent": GIVEN}


class TestSampling:
    @pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 1.0])
    def test_new_traces_are_sampled_as_the_sdks_sampler_does(self, ratio: float) -> None:
        sampler, tracer = TraceIdRatioBased(ratio), RecordedSpans().tracer(ratio)
        taken = 0
        for _ in range(2000):
            context = tracer.enter("a", SpanKind.SERVER)
            decision = sampler.should_sample(None, int(context.trace_id, 16), "a").decision
            assert context.sampled == (decision is Decision.RECORD_AND_SAMPLE)
            assert isinstance(context, Span) == context.sampled
            taken += context.sampled
        assert abs(taken - 2000 * ratio) <= 150

    def test_a_received_trace_follows_the_decision_of_its_sender(self) -> None:
        never, always = RecordedSpans(), RecordedSpans()
        context = never.tracer(0.0).enter("a", SpanKind.SERVER, GIVEN, "v=1")
        assert isinstance(context, Span)
        assert (context.trace_id, context.parent_id) == (TRACE, SPAN)
        assert context.state == "v=1"
        assert context.span_id != SPAN
        other = always.tracer(1.0).enter("a", SpanKind.SERVER, GIVEN[:-1] + "0")
        assert not isinstance(other, Span)
        assert other.traceparent == GIVEN[:-1] + "0"

    def test_of_sampled_traces_that_are_received_so_many_a_second_are_recorded(self) -> None:
        recorded, clock = RecordedSpans(), ManualClock()
        tracer = Tracer(recorded.spans.append, RateLimiter(clock, rate=10, burst=20), ratio=1.0)
        for second, allowed in enumerate((20, 10, 10)):
            clock.advance(1.0)
            made = [tracer.enter("a", SpanKind.SERVER, GIVEN, "v=1") for _ in range(50)]
            spans = [context for context in made if isinstance(context, Span)]
            assert len(spans) == allowed, second
            for other in made[allowed:]:
                assert not isinstance(other, Span)
                assert other.headers() == {"traceparent": GIVEN, "tracestate": "v=1"}
        assert tracer.stats.limited == 150 - 40

    def test_traces_that_begin_here_or_are_not_sampled_do_not_count(self) -> None:
        limit = RateLimiter(ManualClock(), rate=1, burst=1)
        tracer = Tracer(RecordedSpans().spans.append, limit, ratio=1.0)
        for _ in range(3):
            assert isinstance(tracer.enter("a", SpanKind.SERVER), Span)
            tracer.enter("a", SpanKind.SERVER, GIVEN[:-1] + "0")
        assert isinstance(tracer.enter("a", SpanKind.SERVER, GIVEN), Span)
        assert tracer.stats.limited == 0

    def test_an_invalid_header_begins_a_new_trace_without_its_state(self) -> None:
        context = RecordedSpans().tracer().enter("a", SpanKind.SERVER, GIVEN.upper(), "v=1")
        assert context.trace_id != TRACE
        assert context.state == ""

    def test_without_a_sink_nothing_is_recorded_and_ids_are_passed_on(self) -> None:
        tracer = Tracer(ratio=1.0)
        assert tracer.enter("a", SpanKind.SERVER, GIVEN).traceparent == GIVEN
        new = tracer.enter("a", SpanKind.SERVER)
        assert new.sampled
        assert not isinstance(new, Span)

    @pytest.mark.parametrize("ratio", [-0.1, 1.1])
    def test_a_ratio_out_of_range_is_refused(self, ratio: float) -> None:
        with pytest.raises(ValueError, match="between 0 and 1"):
            Tracer(ratio=ratio)


class TestAmbient:
    def test_outside_a_trace_there_is_no_context_and_no_span(self) -> None:
        assert current_context() is None
        assert propagation_headers() == {}
        with span("a") as made:
            assert made is None

    def test_below_a_context_that_is_not_recorded_there_are_no_spans(self) -> None:
        context = SpanContext(TRACE, SPAN, 0)
        token = attach(context)
        with span("a") as made:
            assert made is None
            assert current_context() is context
            assert propagation_headers() == {"traceparent": GIVEN[:-1] + "0"}
        detach(token)
        assert current_context() is None

    def test_spans_nest_and_end_from_the_inside_out(self) -> None:
        recorded = RecordedSpans()
        root = recorded.tracer().enter("root", SpanKind.SERVER)
        assert isinstance(root, Span)
        token = attach(root)
        with span("outer", SpanKind.CLIENT, {"n": 1}), span("inner"):
            assert propagation_headers()["traceparent"].split("-")[1] == root.trace_id
        detach(token)
        root.end()
        root.end()  # a second time does nothing
        assert recorded.tree() == [("inner", "outer"), ("outer", "root"), ("root", "")]
        assert recorded.named("outer").attributes == {"n": 1}
        for each in recorded.spans:
            assert each.started_at <= each.ended_at

    def test_below_a_span_that_has_ended_there_are_no_spans(self) -> None:
        recorded = RecordedSpans()
        root = recorded.tracer().enter("root", SpanKind.SERVER)
        assert isinstance(root, Span)
        token = attach(root)
        assert recording_span() is root
        root.end()
        with span("a task that outlives its request") as made:
            assert made is None
            assert propagation_headers() == root.headers()
        detach(token)
        assert recorded.spans == [root]

    @pytest.mark.parametrize(
        ("exc", "kind"),
        [(Error(Code.NOT_FOUND, "secret"), "NOT_FOUND"), (ValueError("secret"), "ValueError")],
    )
    def test_a_failure_is_recorded_by_its_code_or_type_only(
        self, exc: Exception, kind: str
    ) -> None:
        recorded = RecordedSpans()
        root = recorded.tracer().enter("root", SpanKind.SERVER)
        token = attach(root)
        with pytest.raises(type(exc)), span("a"):
            raise exc
        detach(token)
        assert recorded.named("a").failed
        assert recorded.named("a").attributes == {"error.type": kind}

    async def test_a_task_with_a_context_of_its_own_can_be_given_the_trace(self) -> None:
        async def read_context() -> SpanContext | None:
            return current_context()

        context = SpanContext(TRACE, SPAN, 1)
        token = attach(context)
        in_trace = in_current_trace(read_context)
        detach(token)

        async def run() -> SpanContext | None:
            return await in_trace()

        without = await asyncio.create_task(read_context(), context=Context())
        within = await asyncio.create_task(run(), context=Context())
        assert (without, within) == (None, context)


def test_shared_work_and_its_callers_are_linked_both_ways() -> None:
    tracer = RecordedSpans().tracer()
    spans = [tracer.enter(str(n), SpanKind.CONSUMER) for n in range(3)]
    first, second, third = (each for each in spans if isinstance(each, Span))
    third.end()
    assert shared_parent([first, second, third]) is first
    assert first.links == [second, third]
    assert second.links == [first]
    assert third.links == []  # it has ended, and is with the sink: it must not change


def test_the_sdk_is_not_imported_until_an_export_starts() -> None:
    code = "import sys, paceline.trace as t; t.otlp_sender('grpc://a', service='s', version='1');"
    code += "print('opentelemetry.sdk' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_without_opentelemetry_only_the_exporter_is_missing_and_its_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import paceline.trace as t\n"
        "for name in t.__all__: getattr(t, name)\n"
        "t.Tracer(ratio=1.0).enter('a', t.SpanKind.SERVER)\n"
        "for address in ('http://a', 'grpc://a'):\n"
        "    try: t.otlp_sender(address, service='s', version='1')\n"
        "    except ImportError as exc: print(exc)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    http, grpc = done.stdout.splitlines()
    assert http.endswith("pip install 'paceline[otel]'")
    assert grpc.endswith("pip install 'paceline[otel-grpc]'")


def test_an_export_over_http_imports_nothing_of_grpc() -> None:
    code = (
        "import sys; sys.modules['grpc'] = sys.modules['opentelemetry.exporter.otlp.proto.grpc'] = None\n"
        "import paceline.trace as t\n"
        "t.otlp_sender('http://127.0.0.1:1', service='s', version='1')().close()\n"
        "try: t.otlp_sender('grpc://a', service='s', version='1')\n"
        "except ImportError as exc: print(exc)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "OTLP over grpc needs opentelemetry-exporter-otlp-proto-grpc, which is not installed:"
        " pip install 'paceline[otel-grpc]'\n"
    )
