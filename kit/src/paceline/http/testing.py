"""A test client that calls an ASGI application in its own process: no socket, no server.

For tests of handlers, routing and middleware; what needs a real connection (timeouts, broken
clients, header limits) is tested against `HttpServer`. An exception that leaves the application
reaches the test unchanged.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import unquote

import msgspec

from paceline.http.asgi import ASGIApp, Headers, Message, Scope


@dataclass(frozen=True, slots=True)
class TestResponse:
    """One answer of the application."""

    __test__: ClassVar[bool] = False  # pytest: this is not a class of tests

    status: int
    header_list: Headers
    body: bytes

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers by lower-case name; where a name came twice, the last one."""
        return {k.decode("latin-1"): v.decode("latin-1") for k, v in self.header_list}

    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)


class TestClient:
    """Sends requests to ``app``, as a client at ``address``.

    Example: ``answer = await TestClient(app).get("/things")``, then ``answer.status``.
    """

    __test__: ClassVar[bool] = False  # pytest: this is not a class of tests

    def __init__(
        self,
        app: ASGIApp,
        *,
        headers: Mapping[str, str] | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self._app = app
        self._headers = dict(headers or {})
        self._address = address

    async def request(
        self,
        method: str,
        target: str,
        *,
        json: object = msgspec.UNSET,
        content: bytes | Iterable[bytes] = b"",
        headers: Mapping[str, str] | None = None,
        header_list: Headers | None = None,
    ) -> TestResponse:
        """Send one request. ``json`` is encoded and declared; ``content`` goes as it is."""
        sent = {**self._headers, **(headers or {})}
        if json is not msgspec.UNSET:
            content = msgspec.json.encode(json)
            sent.setdefault("content-type", "application/json")
        chunks = [content] if isinstance(content, bytes) else list(content)
        pairs = [(k.lower().encode(), v.encode("latin-1")) for k, v in sent.items()]
        scope = self._scope(method, target, [*pairs, *(header_list or [])])
        return await self._exchange(scope, chunks)

    async def get(self, target: str, *, headers: Mapping[str, str] | None = None) -> TestResponse:
        """Send a GET."""
        return await self.request("GET", target, headers=headers)

    async def post(
        self, target: str, json: object, *, headers: Mapping[str, str] | None = None
    ) -> TestResponse:
        """Send a POST with a JSON body."""
        return await self.request("POST", target, json=json, headers=headers)

    def _scope(self, method: str, target: str, headers: Headers) -> Scope:
        path, _, query = target.partition("?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode("ascii"),
            "query_string": query.encode("ascii"),
            "root_path": "",
            "headers": headers,
            "client": (self._address, 50000),
            "server": ("testserver", 80),
            "state": {},
        }

    async def _exchange(self, scope: Scope, chunks: list[bytes]) -> TestResponse:
        pending = list(chunks)
        sent: list[Message] = []

        async def receive() -> Message:
            if not pending:
                return {"type": "http.disconnect"}
            chunk = pending.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(pending)}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        start, *parts = sent
        body = b"".join(part.get("body", b"") for part in parts)
        return TestResponse(start["status"], list(start.get("headers", ())), body)
