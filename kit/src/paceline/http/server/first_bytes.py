"""Which version of HTTP a new connection speaks, and the protocol that goes on with it.

Over TLS the handshake has agreed on it (ALPN). In cleartext a client that knows that we speak
HTTP/2 begins with a preface (RFC 9113 §3.4), which no request of HTTP/1.1 begins with; it may
arrive in pieces. Upgrades from HTTP/1.1 (h2c) are not offered: RFC 9113 has given them up.
"""

import asyncio
from typing import Final, cast

from paceline.http.server.http1 import HttpConnection, problem_response
from paceline.http.server.preface import PREFACE
from paceline.http.server.refusals import too_slow
from paceline.http.server.state import SharedState
from paceline.http.server.transports import has_unread_data

_SIZE: Final = len(PREFACE)
_HTTP2: Final = "h2"


class FirstBytes(asyncio.Protocol):
    """The protocol of a connection until its version is known."""

    def __init__(self, state: SharedState, loop: asyncio.AbstractEventLoop) -> None:
        self._state = state
        self._loop = loop
        self._transport: asyncio.Transport
        self._received = b""  # a part of the preface
        self._deadline = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept a client; over TLS its version is known."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its type
        ssl_object = transport.get_extra_info("ssl_object")
        if ssl_object is not None:
            self._hand_over(http2=ssl_object.selected_alpn_protocol() == _HTTP2)
            return
        self._deadline = self._loop.time() + self._state.limits.idle_timeout
        self._state.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Decide as soon as the bytes differ from the preface or complete it."""
        received = self._received + data if self._received else data
        start = received[:_SIZE]
        if not PREFACE.startswith(start):
            self._state.connections.discard(self)
            self._hand_over(http2=False).data_received(received)
        elif len(start) == _SIZE:
            self._state.connections.discard(self)
            self._hand_over(http2=True).data_received(received)
        else:
            if not self._received:
                self._deadline = self._loop.time() + self._state.limits.read_timeout
            self._received = received

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has disconnected without a request."""
        super().connection_lost(exc)
        self._state.connections.discard(self)
        self._state.changed.set()

    def _hand_over(self, *, http2: bool) -> asyncio.Protocol:
        """Let the protocol of this version go on."""
        protocol: asyncio.Protocol
        if http2:
            # Most servers of a kind never see HTTP/2, or only HTTP/2.
            from paceline.http.server.http2 import Http2Connection  # noqa: PLC0415

            protocol = Http2Connection(self._state, self._loop)
        else:
            protocol = HttpConnection(self._state, self._loop)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        return protocol

    def check(self, now: float) -> None:
        """Close a connection whose first bytes do not come; ``now`` is the loop's time."""
        if now <= self._deadline:
            return
        if self._received:  # it may have been meant for HTTP/1.1, and an answer harms nobody
            self._transport.write(problem_response(too_slow(), self._state.date_line))
        self._transport.close()

    def end_after_response(self) -> None:
        """One request may come yet: the protocol that gets it knows that the server stops."""

    def close_if_idle(self) -> None:
        """Close, unless the first bytes have arrived."""
        if not self._received and not has_unread_data(self._transport):
            self._transport.close()

    def abort(self) -> bool:
        """Close at once; no request is cut off."""
        self._transport.abort()
        return False
