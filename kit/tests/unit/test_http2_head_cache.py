"""Heads that a server knows: what is found is what was sent, however many there are."""

import asyncio
from collections.abc import Sequence

import hpack
from http2_wire import RecordingTransport, Streams, Wire, not_called

from paceline.http.server.http2 import Http2Connection
from paceline.http.server.http2.frames import (
    END_HEADERS,
    END_STREAM,
    HEADERS,
    SETTINGS,
    frame,
)
from paceline.http.server.http2.head_cache import HeadCache
from paceline.http.server.http2.request_head import RequestHead
from paceline.http.server.limits import ServerLimits
from paceline.http.server.preface import PREFACE
from paceline.http.server.state import SharedState
from paceline.testing import RecordingLog

TOKENS = [
    b"Bearer " + b"%03d" % number * 20 for number in range(80)
]  # more than a connection keeps


class Client:
    """A connection whose client puts its path into the table, and never its token."""

    def __init__(self, state: SharedState, path: bytes) -> None:
        self.connection = Http2Connection(state, asyncio.get_running_loop())
        self.connection.connection_made(RecordingTransport())
        self.connection.data_received(PREFACE + frame(SETTINGS, 0, 0))
        self._encoder = hpack.Encoder()
        self._path = path
        self._number = 1

    def request(self, token: bytes) -> None:
        fields: Sequence[tuple[bytes, bytes, bool]] = [
            (b":method", b"POST", False), (b":scheme", b"http", False),
            (b":path", self._path, False), (b":authority", b"test", False),
            (b"authorization", token, True),
        ]  # fmt: skip
        flags = END_HEADERS | END_STREAM
        block = self._encoder.encode(fields)
        self.connection.data_received(frame(HEADERS, flags, self._number, block))
        self._number += 2


async def test_the_same_bytes_mean_what_each_connection_s_table_says() -> None:
    streams = Streams(on_end=lambda stream: stream.respond(b"\x88", b"", b""))
    state = SharedState(not_called, RecordingLog(), ServerLimits(), None, streams)
    clients = {path: Client(state, path) for path in (b"/a", b"/b", b"/c")}
    sent: list[tuple[bytes, bytes]] = []
    for _ in range(4):
        for token in TOKENS:
            for path, client in clients.items():
                client.request(token)
                sent.append((path, token))
    heard = [
        (events.stream.target, dict(events.stream.headers)[b"authorization"])
        for events in streams.opened
    ]
    assert heard == sent
    assert state.head_cache is not None
    assert len(state.head_cache.heads) == 3 * (len(TOKENS) - 64)


async def test_a_head_is_forgotten_when_the_table_has_changed() -> None:
    wire = Wire(streams=(streams := Streams()))
    for number in (1, 1, 1, 1, 2, 2, 2, 2, 1):
        wire.request(None, (b"x-number", b"%d" % number))
    numbers = [dict(events.stream.headers)[b"x-number"] for events in streams.opened]
    assert numbers == [b"1"] * 4 + [b"2"] * 4 + [b"1"]


async def test_what_is_prepared_for_a_head_is_there_with_the_next_one() -> None:
    wire = Wire(streams=(streams := Streams()))
    for _ in range(4):
        wire.request()
    third, fourth = (events.stream for events in streams.opened[2:])
    third.prepared = "made"
    assert fourth.prepared == "made"
    assert streams.opened[0].stream.prepared is None


def test_a_cache_is_bounded() -> None:
    cache = HeadCache()
    head = RequestHead("GET", b"/", "http", b"a", [], None)
    for number in range(5_000):
        block = b"%d" % number
        assert not cache.came_before(block)
        assert cache.came_before(block)
        cache.add(cache.table((block,)), block, head)
    assert len(cache.heads) <= 2_048
    assert cache.table((b"0",)) == 5_001  # a number that was dropped is not used again
