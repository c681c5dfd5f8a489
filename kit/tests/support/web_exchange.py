"""One request to an ASGI application without a socket."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from paceline.http.asgi import STREAMING, ASGIApp, Headers, Message


@dataclass
class WebAnswer:
    status: int = 0
    headers: Headers = field(default_factory=list[tuple[bytes, bytes]])
    pieces: list[bytes] = field(default_factory=list[bytes])
    complete: bool = False
    lifted: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def header(self, name: str) -> str | None:
        found = [value.decode() for key, value in self.headers if key == name.encode()]
        return ", ".join(found) if found else None


@dataclass
class WebExchange:
    """``pieces`` of the body come as they are asked for; ``taken``: how many have been."""

    pieces: Sequence[bytes] = ()
    disconnects: bool = False
    taken: int = 0
    answer: WebAnswer = field(default_factory=WebAnswer)

    async def receive(self) -> Message:
        if self.taken < len(self.pieces):
            self.taken += 1
            more = self.taken < len(self.pieces) or self.disconnects
            return {"type": "http.request", "body": self.pieces[self.taken - 1], "more_body": more}
        if self.disconnects or self.taken:
            return {"type": "http.disconnect"}
        self.taken += 1
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: Message) -> None:
        assert not self.answer.complete
        if message["type"] == STREAMING:
            self.answer.lifted = True
        elif message["type"] == "http.response.start":
            assert not self.answer.status
            self.answer.status, self.answer.headers = message["status"], message["headers"]
        else:
            assert self.answer.status
            self.answer.pieces.append(message["body"])
            self.answer.complete = not message.get("more_body", False)

    async def run(
        self, app: ASGIApp, method: str, target: str, headers: dict[str, str] | None = None
    ) -> WebAnswer:
        path, _, query = target.partition("?")
        scope = {
            "type": "http", "method": method, "path": path, "query_string": query.encode(),
            "headers": [(n.encode(), v.encode()) for n, v in (headers or {}).items()],
            "client": ("192.0.2.7", 5000), "http_version": "1.1",
        }  # fmt: skip
        async with asyncio.timeout(10):
            await app(scope, self.receive, self.send)
        return self.answer


async def post(
    app: ASGIApp, path: str, kind: str, *pieces: bytes, headers: dict[str, str] | None = None
) -> WebAnswer:
    """POST a body in pieces."""
    fields = {"content-type": kind, **(headers or {})}
    return await WebExchange(pieces).run(app, "POST", path, fields)
