"""Conversations of HTTP/2 for the fuzzer: frames that belong together, some of them then changed.

Most frames are those of a client that knows what it does, so that states are reached in which the
wrong ones are interesting.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import hpack
from http2_wire import REQUEST
from hypothesis import strategies as st

from paceline.http.server.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    frame,
)

Fields = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Sent:
    """A frame of the client."""

    kind: int
    flags: int
    stream: int
    payload: bytes = b""

    @property
    def data(self) -> bytes:
        return frame(self.kind, self.flags, self.stream, self.payload)


_FIELDS = st.lists(
    st.sampled_from(
        [
            (b"a", b"1"), (b"te", b"trailers"), (b"cookie", b"b=1"), (b"x-long", b"y" * 200),
            (b"content-type", b"application/grpc"), (b"grpc-timeout", b"1S"),
        ]
    )
    | st.sampled_from(
        [
            (b"content-length", b"3"), (b"Upper", b"1"), (b"te", b"gzip"), (b":path", b"/late"),
            (b"connection", b"close"), (b"a", b"1\n"), (b"host", b"other"), (b"a", b" 1"),
        ]
    ),
    max_size=3,
)  # fmt: skip
_STREAM = st.integers(0, 5).map(lambda at: 2 * at + 1)
_ANY_STREAM = _STREAM | st.sampled_from([0, 2, 2**31 - 1])
_BODY = st.binary(max_size=8)
_PAD = st.none() | st.integers(0, 4)


@dataclass(frozen=True)
class Step:
    """What a client does next; its frames depend on what it has done."""

    kind: int
    stream: int
    fields: Fields = field(default_factory=list[tuple[bytes, bytes]])
    body: bytes = b""
    end: bool = False
    pad: int | None = None
    cuts: tuple[int, ...] = ()
    prioritized: bool = False


_STEPS = st.one_of(
    st.builds(
        Step, st.just(HEADERS), _STREAM, _FIELDS, end=st.booleans(), pad=_PAD,
        cuts=st.lists(st.integers(0, 40), max_size=2).map(lambda cuts: tuple(sorted(cuts))),
        prioritized=st.booleans(),
    ),
    st.builds(Step, st.just(DATA), _STREAM, body=_BODY, end=st.booleans(), pad=_PAD),
    st.builds(Step, st.just(RST_STREAM), _STREAM, body=st.just(b"\0\0\0\x08")),
    st.builds(
        Step, st.just(WINDOW_UPDATE), _ANY_STREAM,
        body=st.sampled_from([b"\0\0\0\1", b"\0\1\0\0", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0"]),
    ),
    st.builds(Step, st.just(PING), st.just(0), body=st.just(b"12345678"), end=st.booleans()),
    st.builds(
        Step, st.just(SETTINGS), st.just(0),
        body=st.sampled_from(
            [b"", b"\0\4\0\0\0\0", b"\0\4\x7f\xff\xff\xff", b"\0\5\0\0\x40\0", b"\0\1\0\0\0\0",
             b"\0\5\0\0\0\0", b"\0\2\0\0\0\2", b"\0\x99\0\0\0\1", b"\0\4\x80\0\0\0", b"\0"]
        ),
    ),
    st.builds(
        Step, st.just(PRIORITY), _ANY_STREAM,
        body=st.sampled_from([b"\0\0\0\0\x10", b"\0\0\0\1\x10", b"\0"]),
    ),
    st.builds(Step, st.just(0xEE), _ANY_STREAM, body=_BODY),
    st.builds(Step, st.just(GOAWAY), st.just(0), body=st.just(b"\0" * 8)),
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """A mutation of one frame."""

    at: int
    how: str
    value: int


_CHANGES = st.lists(
    st.builds(
        Change,
        st.integers(0, 40),
        st.sampled_from(["flags", "kind", "stream", "cut", "flip", "repeat", "drop", "swap"]),
        st.integers(0, 255),
    ),
    max_size=3,
)


def _conversation(steps: list[Step], changes: list[Change]) -> list[Sent]:
    return changed(frames_of(steps), changes)


CONVERSATIONS = st.builds(
    _conversation, st.lists(_STEPS, max_size=14), st.just(list[Change]()) | _CHANGES
)


def frames_of(steps: Sequence[Step]) -> list[Sent]:
    """The frames of these steps; header blocks by one encoder, cut into CONTINUATION frames."""
    encoder = hpack.Encoder()
    opened: set[int] = set()
    made: list[Sent] = []
    for step in steps:
        if step.kind != HEADERS:
            flags = int(step.end) if step.kind in {DATA, PING} else 0
            payload = step.body
            if step.kind == DATA and step.pad is not None:
                flags |= PADDED
                payload = bytes((step.pad,)) + payload + b"\0" * step.pad
            made.append(Sent(step.kind, flags, step.stream, payload))
            continue
        trailers = step.stream in opened
        opened.add(step.stream)
        fields = step.fields if trailers else [*REQUEST, *step.fields]
        block = encoder.encode(fields)
        edges = [0, *[min(cut, len(block)) for cut in step.cuts], len(block)]
        parts = [block[a:b] for a, b in pairwise(edges)]
        flags = END_STREAM if step.end or trailers else 0
        first = parts[0]
        if step.prioritized:
            flags |= WITH_PRIORITY
            first = b"\0\0\0\0\x10" + first
        if step.pad is not None:
            flags |= PADDED
            first = bytes((step.pad,)) + first + b"\0" * step.pad
        last = len(parts) - 1
        made.append(Sent(HEADERS, flags | (0 if last else END_HEADERS), step.stream, first))
        made += [
            Sent(CONTINUATION, END_HEADERS if at == last else 0, step.stream, part)
            for at, part in enumerate(parts)
            if at
        ]
    return made


def changed(  # noqa: C901 - a table
    frames: list[Sent], changes: Sequence[Change]
) -> list[Sent]:
    """The frames after these mutations."""
    frames = frames.copy()
    for change in changes:
        if not frames:
            break
        at = change.at % len(frames)
        old, value = frames[at], change.value
        if change.how == "flags":
            frames[at] = replace(old, flags=old.flags ^ value)
        elif change.how == "kind":
            frames[at] = replace(old, kind=value % 11)
        elif change.how == "stream":
            frames[at] = replace(old, stream=value % 12)
        elif change.how == "cut":
            frames[at] = replace(old, payload=old.payload[: value % (len(old.payload) + 1)])
        elif change.how == "flip" and old.payload:
            payload = bytearray(old.payload)
            payload[value % len(payload)] ^= 1 << (value % 8)
            frames[at] = replace(old, payload=bytes(payload))
        elif change.how == "repeat":
            frames.insert(at, old)
        elif change.how == "drop":
            del frames[at]
        elif change.how == "swap" and at:
            frames[at - 1], frames[at] = old, frames[at - 1]
    return frames
