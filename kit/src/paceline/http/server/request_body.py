"""Reading requests: parser events become exchanges, and every size has its limit.

A head or a trailer that never ends is stopped by what came in since the parser last gave something
(`_silent`); a head that came in one small piece need not be measured. Offers to speak another
protocol (Upgrade, h2c) are ignored, body and all. uvicorn gives the parser's set-up, the addresses
and the flow control; its request cycle is replaced by ``exchange``. `RequestReader` is the half of
a connection that listens; ``protocol`` is the half that answers and keeps the time.
"""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from itertools import chain
from math import inf
from types import SimpleNamespace
from typing import Final
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from paceline.http.asgi import Scope, headers_of
from paceline.http.server.exchange import Exchange
from paceline.http.server.head import Refused, check_head, split_target
from paceline.http.server.state import State

_CHANGE_THE_FRAME: Final = frozenset({b"expect", b"transfer-encoding", b"upgrade"})


class RequestReader(HttpToolsProtocol):
    """The state of a connection that belongs to the request being read."""

    parser: httptools.HttpRequestParser
    url: bytes
    headers: list[tuple[bytes, bytes]]

    def __init__(self, config: Config, state: State, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(config, state, {}, loop)
        self.state = state
        self._limits = state.limits
        self._asgi = {"version": "3.0", "spec_version": "2.3"}
        self._latest: Exchange | None = None  # its request is the one being read
        self._running: Exchange | None = None  # its request is the one being answered
        self._waiting: list[Exchange] = []  # pipelined behind that one
        self._parsing = False  # between the first byte of a request and its end
        self._in_head = False
        self._deaf = False  # whatever else comes is thrown away
        self._body_in_upgrade = False
        self._refusal: bytes | None = None  # the answer to the request being read: it has no task
        self._progress = False  # the parser gave something that is accounted for elsewhere
        self._silent = 0  # bytes since then
        self._big = False  # the head may be too large and must be measured
        self._read_deadline = inf

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._deaf:
            return
        parsing, self._progress = self._parsing, False
        self._big = len(data) > self._limits.max_header_bytes or parsing
        try:
            self._feed(data)
        except httptools.HttpParserCallbackError as exc:
            if not isinstance(exc.__context__, Refused):
                raise
            self._refuse(exc.__context__)
            return
        except httptools.HttpParserError as exc:
            # The parser's reasons are its own fixed texts: nothing of the request is in them.
            self._refuse(Refused(HTTPStatus.BAD_REQUEST, f"the request is malformed: {exc}"))
            return
        if self._parsing:
            if parsing and not self._progress:
                self._silent += len(data)
            if self._silent > self._limits.max_header_bytes or (
                self._in_head and self._oversized()
            ):
                self._refuse(self._too_large())

    def _feed(self, data: bytes) -> None:
        """Parse, and ignore offers to speak another protocol (Upgrade, h2c)."""
        while True:
            try:
                return self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
            if self._body_in_upgrade:
                self._resume_body()

    def _resume_body(self) -> None:
        """Go on with the body of a request that offered an upgrade; the parser skips it.

        A parser for nothing else reads it, so the connection closes after this exchange.
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
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests at once")
        self.url = b""
        self.headers = []
        self._parsing = self._in_head = self._progress = True
        self._silent = 0
        self._read_deadline = self.loop.time() + self._limits.read_timeout

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self.url += url
        if len(self.url) > self._limits.max_target_bytes:
            text = f"the request target is longer than {self._limits.max_target_bytes} bytes"
            raise Refused(HTTPStatus.REQUEST_URI_TOO_LONG, text)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head; a trailer is dropped, or it could pass for one."""
        if self._in_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Check the head, and start the app on it unless others are before it."""
        self._in_head = False
        self._progress = True
        parser = self.parser
        if self._oversized():
            raise self._too_large()
        method = parser.get_method().decode("ascii")
        version = parser.get_http_version()
        path, query, authority = split_target(method, self.url)
        if authority:
            self.headers = [field for field in self.headers if field[0] != b"host"]
            self.headers.append((b"host", authority))
        text = path.decode("ascii")
        scope: Scope = {
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
            "headers": self.headers,
            "state": {},
        }
        index = headers_of(scope)
        check_head(version, self.headers, index)
        self._body_in_upgrade = (
            b"upgrade" in index
            and (b"transfer-encoding" in index or index.get(b"content-length", b"0") != b"0")
            and parser.should_upgrade()
        )
        keep_alive = parser.should_keep_alive() and not self.state.stopping
        if keep_alive and self._is_turned_away(scope, index):
            return
        self._latest = Exchange(
            self,
            scope,
            keep_alive=keep_alive and not self._body_in_upgrade,
            expects_continue=version == "1.1"
            and index.get(b"expect", b"").lower() == b"100-continue",
        )
        if self._running is None:
            self._start(self._latest)
        else:
            self.flow.pause_reading()
            self._waiting.append(self._latest)

    def _is_turned_away(self, scope: Scope, index: Mapping[bytes, bytes]) -> bool:
        """Ask the gate about a request that can be answered when it is whole, and thrown away.

        Others, and those of a client that does not read, go the usual way, which answers as well.
        """
        gate = self.state.gate
        if (
            gate is None
            or self._running is not None
            or self.flow.write_paused
            or scope["http_version"] != "1.1"
            or (b"content-length" in index and int(index[b"content-length"]) > HIGH_WATER_LIMIT)
            or not _CHANGE_THE_FRAME.isdisjoint(index)
        ):
            return False
        self._refusal = gate.refusal(scope["method"], scope["path"])
        if self._refusal is None:
            return False
        self._latest = None
        return True

    def on_body(self, body: bytes) -> None:
        """A piece of the request's body."""
        self._progress = True
        self._silent = 0
        exchange = self._latest
        if exchange is None or exchange.complete or exchange.gone:
            return
        exchange.add_body(body)
        if len(exchange.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._body_in_upgrade:
            return
        self._parsing = False
        if self._latest is not None:
            self._latest.end_body()
        elif self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            self._turn_away(refusal)

    def _oversized(self) -> bool:
        limits = self._limits
        if len(self.headers) > limits.max_headers:
            return True
        # What came in one piece within the limit need not be added up.
        return self._big and sum(map(len, chain(*self.headers))) > limits.max_header_bytes

    def _too_large(self) -> Refused:
        limits = self._limits
        text = f"the headers are more than {limits.max_header_bytes} bytes or {limits.max_headers}"
        return Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, text)

    # What the other half does.

    def _start(self, exchange: Exchange) -> None:
        raise NotImplementedError

    def finished(self, exchange: Exchange) -> None:
        """The response is complete."""
        raise NotImplementedError

    def failed(self, exchange: Exchange, error: BaseException) -> None:
        """The app ended, and the response is not complete."""
        raise NotImplementedError

    def _refuse(self, reason: Refused) -> None:
        raise NotImplementedError

    def _turn_away(self, response: bytes) -> None:
        raise NotImplementedError
