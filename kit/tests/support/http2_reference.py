"""The h2 library as the reference for what a conversation of HTTP/2 means."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from http2_fuzzing import Fields, Sent
from http2_wire import Streams, Wire

from paceline.http.server.http2.frames import (
    ACK,
    CONTINUATION,
    GOAWAY,
    HEADERS,
    PING,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from paceline.http.server.http2.stream import Stream
from paceline.http.server.preface import PREFACE


@dataclass
class Request:
    """What an application gets of one stream."""

    fields: Fields
    body: bytes = b""
    ended: bool = False
    reset: bool = False
    trailers: Fields = field(default_factory=list[tuple[bytes, bytes]])


class Reference:
    """The h2 library as the server."""

    def __init__(self) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding=None)
        self._server = h2.connection.H2Connection(config)
        self._server.initiate_connection()
        self.requests: dict[int, Request] = {}
        self.error = ""
        self.receive(PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0))

    def receive(self, data: bytes) -> None:
        try:
            events = self._server.receive_data(data)
        except h2.exceptions.ProtocolError as exc:
            self.error = f"{type(exc).__name__}: {exc}"
            return
        for event in events:
            self._take(event)
        if any(sent[3] == RST_STREAM for sent in split(self._server.data_to_send())):
            self.error = "reset by the reference"

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.requests[event.stream_id or 0] = Request(_pairs(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            self.requests[event.stream_id or 0].body += event.data or b""
        elif isinstance(event, h2.events.TrailersReceived):
            self.requests[event.stream_id or 0].trailers = _pairs(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            self.requests[event.stream_id or 0].ended = True
        elif isinstance(event, h2.events.StreamReset) and event.stream_id in self.requests:
            self.requests[event.stream_id].reset = True


class Ours:
    """This server, with an application that never answers."""

    def __init__(self) -> None:
        self.streams = Streams()
        self.wire = Wire(streams=self.streams, preface=False)
        self._read = 0
        self.error = ""
        self.receive(PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0))

    def receive(self, data: bytes) -> None:
        self.wire.connection.data_received(data)
        self.wire.connection.flush()
        written = bytes(self.wire.transport.written[self._read :])
        self._read += len(written)
        for sent in split(written):
            if sent[3] in {RST_STREAM, GOAWAY}:
                self.error = f"frame {sent[3]}: {sent[9:]!r}"

    @property
    def requests(self) -> dict[int, Request]:
        found: dict[int, Request] = {}
        for events in self.streams.opened:
            stream = events.stream
            request = Request(
                [
                    (b":method", stream.method.encode()),
                    (b":path", stream.target),
                    (b":scheme", stream.scheme.encode()),
                    (b":authority", stream.authority),
                    *stream.headers,
                ],
                events.body,
            )
            for item in events.heard:
                if isinstance(item, tuple):
                    request.ended, request.trailers = True, item[1]
            request.reset = "closed" in events.heard
            assert isinstance(stream, Stream)
            found[stream.id] = request
        return found


def split(data: bytes) -> list[bytes]:
    """The frames of what a server has written."""
    found: list[bytes] = []
    while data:
        end = 9 + int.from_bytes(data[:3], "big")
        found.append(data[:end])
        data = data[end:]
    return found


def _pairs(headers: Iterable[tuple[str | bytes, str | bytes]] | None) -> Fields:
    return [(_bytes(name), _bytes(value)) for name, value in headers or []]


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text)


EXTENSIONS = frozenset({10, 12})  # ALTSVC, ORIGIN: frames of a server, which h2 reads
BOUND = 256 * 1024  # bytes that a connection may keep of a conversation of a few kilobytes


@dataclass(frozen=True)
class Difference:
    """Where this server and the h2 library differ, and who is right."""

    reason: str
    reference: str
    """In the error of h2; empty: it accepts the frame."""
    ours: str
    kinds: frozenset[int]


KNOWN = [
    Difference("h2's RST_STREAM on an idle stream is no error; RFC 9113 §6.4: it is one",
               "", "RST_STREAM on a stream that is not open", frozenset({RST_STREAM})),
    Difference("hyperframe refuses WINDOW_UPDATE of zero on a closed stream, too, which may get any",
               "non-compliant data", "", frozenset({WINDOW_UPDATE})),
    Difference("h2 looks at PUSH_PROMISE when its header block is whole",
               "", "a client pushes", frozenset({PUSH_PROMISE})),
    Difference("h2 looks at a header block when it is whole, this server at its first frame",
               "", "HEADERS on a stream of a wrong number", frozenset({HEADERS})),
    Difference("hyperframe refuses padding that leaves nothing; RFC 9113 §6.1: less than the payload",
               "invalid padding", "", frozenset(range(256))),
    Difference("h2 accepts equal lengths that are repeated; RFC 9110 §8.6 lets a server refuse them",
               "", "\\x00\\x00\\x00\\x01", frozenset({HEADERS, CONTINUATION})),
    Difference("h2 takes any number of PINGs", "", "too_many_pings", frozenset({PING})),
]  # fmt: skip


def _is_known(kind: int, reference: str, ours: str) -> bool:
    return any(
        kind in known.kinds
        and (known.reference in reference if known.reference else not reference)
        and (known.ours in ours if known.ours else not ours)
        for known in KNOWN
    )


def _meaning(request: Request) -> tuple[Fields, bytes, bool, bool, Fields]:
    """A request, with its cookies joined, as h2 does in trailers, too, and its fields in any order."""
    return (
        _joined(request.fields), request.body, request.ended, request.reset,
        _joined(request.trailers),
    )  # fmt: skip


def _joined(fields: Fields) -> Fields:
    crumbs = [value for name, value in fields if name == b"cookie"]
    others = sorted(field for field in fields if field[0] != b"cookie")
    return [*others, (b"cookie", b"; ".join(crumbs))] if crumbs else others


def kept(ours: Ours) -> int:
    """Bytes of the client's that the server still holds."""
    return sum(stream.held for stream in ours.wire.connection.streams.values())


def compare(conversation: list[Sent]) -> None:
    """Let both servers read a conversation, frame by frame, until they refuse it."""
    reference, ours = Reference(), Ours()
    comparable = True
    for sent in conversation:
        ours.receive(sent.data)
        assert not ours.wire.log.events("error")
        assert kept(ours) < BOUND
        if not comparable:
            continue
        reference.receive(sent.data)
        refused = bool(reference.error), bool(ours.error)
        if sent.kind in EXTENSIONS or refused == (True, True):
            comparable = False  # h2 ends the connection where this server resets a stream
        elif refused != (False, False):
            assert _is_known(sent.kind, reference.error, ours.error), (reference.error, ours.error)
            comparable = False
        else:
            expected = {number: _meaning(r) for number, r in reference.requests.items()}
            assert {number: _meaning(r) for number, r in ours.requests.items()} == expected
            comparable = sent.kind != GOAWAY  # after it h2 takes nothing
    if not ours.wire.transport.ended:
        ours.wire.connection.abort()
    assert not ours.wire.connection.streams


def read_pieces(pieces: Iterable[bytes]) -> None:
    """Let the server read anything: nothing may be raised, and little be kept."""
    ours = Ours()
    for piece in pieces:
        ours.receive(piece)
    assert not ours.wire.log.events("error")
    assert kept(ours) < BOUND
    if not ours.wire.transport.ended:
        ours.wire.connection.abort()
    assert not ours.wire.connection.streams
