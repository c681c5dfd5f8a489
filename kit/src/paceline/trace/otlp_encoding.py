"""Spans as bytes of OTLP's messages, written by hand.

The thread that encodes keeps the interpreter from the event loop, so it must be quick: a span made
of protobuf's messages takes 11 µs, and this 3 µs. Attributes repeat from span to span (a
method, a route, a status), so their bytes are kept; long texts, such as paths, are not. Invariant:
the bytes are those of the same message built field by field, which a test compares. Source: OTLP 1,
``trace.proto`` and ``common.proto``; the encoding is Protocol Buffers'.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import Final

from paceline.trace.context import SpanContext
from paceline.trace.spans import ERROR_TYPE, AttributeValue, Span, SpanKind

# Numbers of fields and wire types: a tag is number << 3 | type, where 0 is a varint, 1 is 64 bits,
# 2 is bytes behind their length, 5 is 32 bits.
_TRACE_ID: Final = b"\x0a\x10"  # field 1, of 16 bytes
_SPAN_ID: Final = b"\x12\x08"  # field 2, of 8 bytes
_STATE: Final = b"\x1a"
_PARENT_ID: Final = b"\x22\x08"
_NAME: Final = b"\x2a"
_ATTRIBUTE: Final = b"\x4a"
_LINK: Final = b"\x6a"
_STATUS: Final = b"\x7a"
_NUMBERS: Final = {
    SpanKind.INTERNAL: 1, SpanKind.SERVER: 2, SpanKind.CLIENT: 3,
    SpanKind.PRODUCER: 4, SpanKind.CONSUMER: 5,
}  # fmt: skip
_KINDS: Final = {kind: b"\x30%c" % number for kind, number in _NUMBERS.items()}
_TIMES: Final = Struct("<BQBQ").pack  # field 7, its nanoseconds, field 8, its nanoseconds
_START, _END = 0x39, 0x41
_FLAGS: Final = Struct("<2sI").pack
_SPAN_FLAGS: Final = b"\x85\x01"  # field 16
_LINK_FLAGS: Final = Struct("<BI").pack
_LINK_FLAGS_FIELD: Final = 0x35  # field 6
_HAS_REMOTE, _REMOTE = 0x100, 0x200
_FAILED: Final = b"\x18\x02"  # Status.code: error
_LONG: Final = 48


def encode_spans(spans: Sequence[Span], resource: bytes) -> bytes:
    """An ``ExportTraceServiceRequest`` of spans of one ``resource``, which is a message itself."""
    scope = field(b"\x0a", field(b"\x0a", b"paceline"))
    scope_spans = scope + b"".join([field(b"\x12", encode_span(span)) for span in spans])
    return field(b"\x0a", field(b"\x0a", resource) + field(b"\x12", scope_spans))


def encode_span(span: Span) -> bytes:
    """A ``Span``."""
    ids = bytes.fromhex(span.trace_id + span.span_id)
    flags = span.flags | (_HAS_REMOTE | _REMOTE if span.remote else _HAS_REMOTE)
    parts = [
        _TRACE_ID, ids[:16], _SPAN_ID, ids[16:], _text(_NAME, span.name), _KINDS[span.kind],
        _TIMES(_START, span.started_at, _END, span.ended_at), _FLAGS(_SPAN_FLAGS, flags),
    ]  # fmt: skip
    if span.parent_id is not None:
        parts += (_PARENT_ID, bytes.fromhex(span.parent_id))
    if span.state:
        parts.append(_text(_STATE, span.state))
    parts += attributes_of(span.attributes)
    parts += [field(_LINK, _link(other)) for other in span.links]
    if span.failed:
        reason = str(span.attributes.get(ERROR_TYPE, ""))
        parts.append(field(_STATUS, (_text(b"\x12", reason) if reason else b"") + _FAILED))
    return b"".join(parts)


def attributes_of(values: Mapping[str, AttributeValue], tag: bytes = _ATTRIBUTE) -> list[bytes]:
    """A field ``tag`` with a ``KeyValue`` for each."""
    return [
        _attribute(tag, key, value)
        if type(value) is str and len(value) > _LONG
        else _kept_attribute(tag, key, value)
        for key, value in values.items()
    ]


def field(tag: bytes, content: bytes) -> bytes:
    """A field of bytes, or of another message."""
    return tag + _varint(len(content)) + content


def _link(other: SpanContext) -> bytes:
    ids = bytes.fromhex(other.trace_id + other.span_id)
    flags = _LINK_FLAGS(_LINK_FLAGS_FIELD, other.flags | _HAS_REMOTE)
    state = _text(_STATE, other.state) if other.state else b""
    return b"".join((_TRACE_ID, ids[:16], _SPAN_ID, ids[16:], state, flags))


def _attribute(tag: bytes, key: str, value: AttributeValue) -> bytes:
    return field(tag, _text(b"\x0a", key) + field(b"\x12", _any_value(value)))


_kept_attribute = lru_cache(maxsize=4096, typed=True)(_attribute)  # True is not 1, nor 1.0


def _any_value(value: AttributeValue) -> bytes:
    if isinstance(value, str):
        return _text(b"\x0a", value)
    if isinstance(value, bool):
        return b"\x10%c" % value
    if isinstance(value, int):
        return b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    return b"\x21" + Struct("<d").pack(value)


def _text(tag: bytes, text: str) -> bytes:
    return field(tag, text.encode())


def _varint(number: int) -> bytes:
    if number < 0x80:  # noqa: PLR2004 - seven bits a byte
        return b"%c" % number
    encoded = bytearray()
    while number >= 0x80:  # noqa: PLR2004
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
