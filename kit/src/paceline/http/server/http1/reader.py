"""Reading requests: parser events become exchanges, and every size has its limit.

A head or a trailer that never ends is bounded by the bytes since the parser last produced an event
(`_unparsed`); a head that came in one small piece need not be measured. What a chunked body has
beside its data (sizes, extensions) may be twice the data and as much as a head, as in Go's
net/http. Offers of another protocol (Upgrade, h2c) are ignored, body and all. The parser has none
of the leniencies that it offers: each is a way to read a message differently from another reader.
`RequestReader` is the reading half of a connection; `HttpConnection` adds the half that answers and
keeps the time.
"""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from itertools import chain
from math import inf
from types import SimpleNamespace
from typing import Final, cast
from urllib.parse import unquote

import httptools

from paceline.http.asgi import Headers, Scope, headers_of, keep_index
from paceline.http.server.http1.exchange import Exchange
from paceline.http.server.http1.flow_control import HIGH_WATER, FlowControl
from paceline.http.server.http1.head import accepts_trailers, check_head
from paceline.http.server.refusals import RequestRejected, headers_too_large, target_too_long
from paceline.http.server.request_target import split_target
from paceline.http.server.state import SharedState
from paceline.http.server.transports import (
    client_address,
    plain_descriptor,
    scheme,
    server_address,
)

_FRAMING_HEADERS: Final = frozenset({b"expect", b"transfer-encoding", b"upgrade"})
_TRAILERS: Final = "http.response.trailers"


class RequestReader(asyncio.Protocol):
    """The state of a connection that belongs to the request being read."""

    transport: asyncio.Transport
    flow: FlowControl

    def __init__(self, state: SharedState, loop: asyncio.AbstractEventLoop) -> None:
        self.state = state
        self.loop = loop
        self.parser: httptools.HttpRequestParser = httptools.HttpRequestParser(self)
        self.url: bytes = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.client: tuple[str, int] | None = None
        self.server: tuple[str, int | None] | None = None
        self.scheme: str = "http"
        self.descriptor: int = -1
        """The socket's, to which can be written; -1 if it must not, as over TLS."""
        self._limits = state.limits
        self._asgi = {"version": "3.0", "spec_version": "2.3"}
        self._latest: Exchange | None = None  # its request is the one being read
        self._running: Exchange | None = None  # its request is the one being answered
        self._waiting: list[Exchange] = []  # pipelined behind that one
        self._parsing = False  # between the first byte of a request and its end
        self._in_head = False
        self._discarding = False  # whatever else arrives is discarded
        self._body_in_upgrade = False
        self._rejection: bytes | None = (
            None  # the answer to the request being read, which has no exchange
        )
        self._rejected: Scope | None = None  # that request
        self._progress = False  # the parser produced an event
        self._unparsed = 0  # bytes since its last event
        self._measure = False  # the head may be too large
        self._chunked = False  # the body being read is
        self._excess = 0  # bytes of a chunked body beyond three times its data
        self._read_deadline = inf

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept a client."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by its type
        self.flow = FlowControl(self.transport)
        self.client = client_address(transport)
        self.server = server_address(transport)
        self.scheme = scheme(transport)
        self.descriptor = plain_descriptor(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the parser and the request, which refer to this connection."""
        super().connection_lost(exc)
        del self.parser
        self._latest = None
        self.flow.resume_writing()

    def pause_writing(self) -> None:
        """The client takes no more for now."""
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        """The client takes data again."""
        self.flow.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parse what arrived."""
        if self._discarding:
            return
        idle = self._running is None and not self._parsing
        if idle and self._read_known(data):
            return
        parsing, self._progress = self._parsing, False
        self._measure = len(data) > self._limits.max_header_bytes or parsing
        if self._chunked:
            self._excess += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserCallbackError as exc:
            if not isinstance(exc.__context__, RequestRejected):
                raise
            self._reject(exc.__context__)
            return
        except httptools.HttpParserError as exc:
            # The parser's texts are fixed: they hold nothing of the request.
            self._reject(
                RequestRejected(HTTPStatus.BAD_REQUEST, f"the request is malformed: {exc}")
            )
            return
        if self._parsing:
            if parsing and not self._progress:
                self._unparsed += len(data)
            self._check_sizes()
        elif idle:
            self._keep_head(data)

    def _read_known(self, data: bytes) -> bool:
        """Start a request whose fields are known; False: it is for the parser."""
        known = self.state.known_heads.find(data)
        if (
            known is None
            or self.state.stopping
            or len(known.path) + len(known.query) >= self._limits.max_target_bytes
            or len(known.body) > HIGH_WATER
        ):
            return False
        check = self.state.admission_check
        if check is not None and not self.flow.write_paused:
            rejection = check.rejection(known.method, known.path.decode("ascii"))
            if rejection is not None:
                self._latest = None
                self._send_rejection(rejection.http1)  # HEAD is never known
                return True
        scope = self._scope(known.method, "1.1", known.path, known.query, [*known.headers])
        keep_index(scope, known.by_name)
        exchange = Exchange(self, scope, keep_alive=True, expects_continue=False)
        exchange.body, exchange.more_body = known.body, False
        self._latest = exchange
        self._start(exchange)
        return True

    def _keep_head(self, data: bytes) -> None:
        """Keep the fields of the request that ``data`` was, if it was one, and whole."""
        scope, exchange = self._rejected, self._latest
        if exchange is not None:
            if exchange is not self._running or not exchange.keep_alive:
                return
            scope = exchange.scope
        if scope is not None:
            headers: Headers = scope["headers"]
            self.state.known_heads.add(data, [*headers], headers_of(scope))

    def _check_sizes(self) -> None:
        """Of what has arrived of a request and is no data."""
        limit = self._limits.max_header_bytes
        if self._unparsed > limit or (self._in_head and self._oversized()):
            self._reject(headers_too_large(self._limits))
        elif self._chunked:
            if self._excess > limit:
                text = "the chunks of the body are mostly something else than data"
                self._reject(RequestRejected(HTTPStatus.BAD_REQUEST, text))
            self._excess = max(self._excess, 0)

    def _feed(self, data: bytes) -> None:
        """Parse, and ignore offers of another protocol (Upgrade, h2c)."""
        while True:
            try:
                return self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
            if self._body_in_upgrade:
                self._resume_body()

    def _resume_body(self) -> None:
        """Read the body of a request that offered an upgrade, which the parser skips.

        A second parser reads it and nothing else, so the connection closes after this exchange.
        """
        self._body_in_upgrade = False
        exchange = self._latest
        if exchange is None:
            return
        framing = b"".join(
            b"%b: %b\r\n" % (name, value)
            for name, value in exchange.scope["headers"]
            if name in (b"content-length", b"transfer-encoding")
        )
        events = SimpleNamespace(on_body=self.on_body, on_message_complete=self.on_message_complete)
        self.parser = httptools.HttpRequestParser(events)
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if len(self._waiting) >= self._limits.max_pipelined:
            raise RequestRejected(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests at once")
        self.url = b""
        self.headers = []
        self._rejected = None
        self._parsing = self._in_head = self._progress = True
        self._chunked = False
        self._unparsed = 0
        self._read_deadline = self.loop.time() + self._limits.read_timeout

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self.url += url
        if len(self.url) > self._limits.max_target_bytes:
            raise target_too_long(self._limits)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head; a trailer is dropped, or it could pass for one."""
        if self._in_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Check the head, and start the app unless other requests are before it."""
        self._in_head = False
        self._progress = True
        parser = self.parser
        if self._oversized():
            raise headers_too_large(self._limits)
        method = parser.get_method().decode("ascii")
        version = parser.get_http_version()
        path, query, authority = split_target(method, self.url)
        if authority:
            self.headers = [field for field in self.headers if field[0] != b"host"]
            self.headers.append((b"host", authority))
        scope = self._scope(method, version, path, query, self.headers)
        index = headers_of(scope)
        check_head(version, self.headers, index)
        if b"transfer-encoding" in index:
            self._chunked = True
            self._excess = 0
        takes_trailers = b"te" in index and version == "1.1" and accepts_trailers(index[b"te"])
        if takes_trailers:
            scope["extensions"] = {_TRAILERS: {}}
        self._body_in_upgrade = (
            b"upgrade" in index
            and (b"transfer-encoding" in index or index.get(b"content-length", b"0") != b"0")
            and parser.should_upgrade()
        )
        keep_alive = parser.should_keep_alive() and not self.state.stopping
        if keep_alive and self._is_rejected(scope, index):
            return
        self._latest = Exchange(
            self,
            scope,
            keep_alive=keep_alive and not self._body_in_upgrade,
            expects_continue=version == "1.1"
            and index.get(b"expect", b"").lower() == b"100-continue",
            takes_trailers=takes_trailers,
        )
        if self._running is None:
            self._start(self._latest)
        else:
            self.flow.pause_reading()
            self._waiting.append(self._latest)

    def _scope(
        self, method: str, version: str, path: bytes, query: bytes, headers: Headers
    ) -> Scope:
        text = path.decode("ascii")
        return {
            "type": "http",
            "asgi": self._asgi,
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": method,
            "root_path": "",
            "path": unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": query,
            "headers": headers,
            "state": {},
        }

    def _is_rejected(self, scope: Scope, index: Mapping[bytes, bytes]) -> bool:
        """Check the admission of a request that can be answered once it has been read.

        Others, and those of a client that does not read, are admitted or refused by the app.
        """
        check = self.state.admission_check
        if (
            check is None
            or self._running is not None
            or self.flow.write_paused
            or scope["http_version"] != "1.1"
            or (b"content-length" in index and int(index[b"content-length"]) > HIGH_WATER)
            or not _FRAMING_HEADERS.isdisjoint(index)
        ):
            return False
        rejection = check.rejection(scope["method"], scope["path"])
        if rejection is None:
            return False
        self._rejection = rejection.http1_head if scope["method"] == "HEAD" else rejection.http1
        self._rejected = scope
        self._latest = None
        return True

    def on_body(self, body: bytes) -> None:
        """A piece of the request's body."""
        self._progress = True
        self._unparsed = 0
        if self._chunked:
            self._excess -= 3 * len(body)
        exchange = self._latest
        if exchange is None or exchange.complete or exchange.disconnected:
            return
        exchange.add_body(body)
        if len(exchange.body) > HIGH_WATER:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._body_in_upgrade:
            return
        self._parsing = False
        if self._latest is not None:
            self._latest.end_body()
        else:
            self._end_rejected()

    def _end_rejected(self) -> None:
        """Answer a request that the admission check has rejected, once it is whole."""
        rejection, self._rejection = self._rejection, None
        if rejection is not None:
            self._send_rejection(rejection)

    def _oversized(self) -> bool:
        limits = self._limits
        if len(self.headers) > limits.max_headers:
            return True
        # A head that came in one piece within the limit need not be measured.
        return self._measure and sum(map(len, chain(*self.headers))) > limits.max_header_bytes

    # The answering half.

    def _start(self, exchange: Exchange) -> None:
        raise NotImplementedError

    def finished(self, exchange: Exchange) -> None:
        """The response is complete."""
        raise NotImplementedError

    def expect_body(self, *, waiting: bool) -> None:
        """See `ResponseTransport`."""
        raise NotImplementedError

    def answer(self, reason: RequestRejected) -> None:
        """See `ResponseTransport`."""
        raise NotImplementedError

    def cut_off(self) -> None:
        """See `ResponseTransport`."""
        raise NotImplementedError

    def _reject(self, reason: RequestRejected) -> None:
        raise NotImplementedError

    def _send_rejection(self, response: bytes) -> None:
        raise NotImplementedError
