"""The bytes of spans are those of OTLP's messages, made field by field by protobuf."""

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as pb

from paceline.trace import Span, SpanContext, SpanKind
from paceline.trace.otlp_encoding import attributes_of, encode_spans
from paceline.trace.spans import AttributeValue

TEXTS = st.text(st.characters(codec="utf-8"), max_size=200)
VALUES: st.SearchStrategy[AttributeValue] = (
    TEXTS | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
)
ATTRIBUTES = st.dictionaries(TEXTS, VALUES, max_size=4)
CONTEXTS = st.builds(
    SpanContext,
    st.text("0123456789abcdef", min_size=32, max_size=32),
    st.text("0123456789abcdef", min_size=16, max_size=16),
    st.integers(0, 3),
    st.sampled_from(["", "a=1,b=2"]),
)


@dataclass(frozen=True)
class Wanted:
    """What a span is made of."""

    name: str
    kind: SpanKind
    parent: SpanContext
    root: bool
    below: bool  # below another span of this process
    attributes: dict[str, AttributeValue]
    links: list[SpanContext]
    error: str | None

    def span(self) -> Span:
        span = Span(self.name, self.kind, self.parent, lambda _: None, root=self.root)
        if self.below:
            span = span.child(self.name, self.kind)
        span.attributes.update(self.attributes)
        span.links += self.links
        if self.error is not None:
            span.failed = True
            if self.error:
                span.attributes["error.type"] = self.error
        span.end()
        return span


WANTED = st.builds(
    Wanted, TEXTS, st.sampled_from(SpanKind), CONTEXTS, st.booleans(), st.booleans(),
    ATTRIBUTES, st.lists(CONTEXTS, max_size=3), st.none() | TEXTS,
)  # fmt: skip


def key_values(values: dict[str, AttributeValue]) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in values.items()]


def any_value(value: AttributeValue) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    return AnyValue(int_value=value) if isinstance(value, int) else AnyValue(double_value=value)


def message(span: Span) -> pb.Span:
    reason = str(span.attributes.get("error.type", ""))
    return pb.Span(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=bytes.fromhex(span.parent_id or ""),
        trace_state=span.state,
        flags=span.flags | 0x100 | (0x200 if span.remote else 0),
        name=span.name,
        kind=pb.Span.SpanKind.Value(f"SPAN_KIND_{span.kind.name}"),
        start_time_unix_nano=span.started_at,
        end_time_unix_nano=span.ended_at,
        attributes=key_values(span.attributes),
        links=[
            pb.Span.Link(
                trace_id=bytes.fromhex(other.trace_id), span_id=bytes.fromhex(other.span_id),
                trace_state=other.state, flags=other.flags | 0x100,
            )
            for other in span.links
        ],
        status=pb.Status(code=pb.Status.STATUS_CODE_ERROR, message=reason) if span.failed else None,
    )  # fmt: skip


@given(wanted=st.lists(WANTED, max_size=3), resource=ATTRIBUTES)
def test_spans_of_any_kind_are_the_messages_that_protobuf_makes(
    wanted: Sequence[Wanted], resource: dict[str, AttributeValue]
) -> None:
    spans = [each.span() for each in wanted]
    encoded = encode_spans(spans, b"".join(attributes_of(resource, b"\x0a")))
    assert ExportTraceServiceRequest.FromString(encoded) == ExportTraceServiceRequest(
        resource_spans=[
            pb.ResourceSpans(
                resource=Resource(attributes=key_values(resource)),
                scope_spans=[
                    pb.ScopeSpans(
                        scope=InstrumentationScope(name="paceline"), spans=map(message, spans)
                    )
                ],
            )
        ]
    )


def test_values_that_are_equal_and_of_other_types_stay_apart() -> None:
    values: list[AttributeValue] = [1, True, 1.0, "1"]
    assert [attributes_of({"a": value}) for value in values] == [
        [b"\x4a" + bytes([made.ByteSize()]) + made.SerializeToString()]
        for made in (KeyValue(key="a", value=any_value(value)) for value in values)
    ]
