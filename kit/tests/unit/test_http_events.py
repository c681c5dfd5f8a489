"""Server-sent events without a socket: the bytes, how a response begins and how it ends."""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.errors import Code, Error, Unauthorized
from paceline.http.app import App
from paceline.http.asgi import Message, Scope
from paceline.http.events import Events, event
from paceline.http.middleware import authenticate, timeout
from paceline.http.openapi import openapi_document
from paceline.http.testing import TestClient

ACCEPT = {"accept": "text/event-stream"}


class Tick(msgspec.Struct):
    n: int


@dataclass
class Source:
    """A stream of the ticks that a test puts in; None ends it."""

    queue: asyncio.Queue[int | None] = field(default_factory=asyncio.Queue[int | None])
    opened: int = 0
    closed: int = 0
    refuse: bool = False
    lifetime: float | None = None
    heartbeat: float = 60.0
    recheck: float = 60.0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[AsyncIterator[Tick]]:
        if self.refuse:
            raise Error(Code.RESOURCE_EXHAUSTED, "too many")
        self.opened += 1
        try:
            yield self._ticks()
        finally:
            self.closed += 1

    async def _ticks(self) -> AsyncGenerator[Tick]:
        while (n := await self.queue.get()) is not None:
            yield Tick(n)

    async def follow(self) -> Events[Tick]:
        """Follow the ticks."""
        return Events(
            self.open(),
            lambda tick: event(b"%d" % tick.n, name="tick", id=str(tick.n)),
            lifetime=self.lifetime,
            heartbeat=self.heartbeat,
            recheck=self.recheck,
        )

    def app(self, request_timeout: float = 60.0) -> App:
        app = App(timeout(request_timeout))
        app.group().get("/ticks", self.follow)
        return app


@dataclass
class Listening:
    """A client that stays connected, and what it has received."""

    app: App
    method: str = "GET"
    headers: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    sent: list[Message] = field(default_factory=list[Message])
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        requested = False

        async def receive() -> Message:
            nonlocal requested
            if not requested:
                requested = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await self.left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            self.sent.append(message)

        scope: Scope = {
            "type": "http", "method": self.method, "path": "/ticks", "raw_path": b"/ticks",
            "query_string": b"", "headers": [(b"accept", b"text/event-stream"), *self.headers],
            "root_path": "",
        }  # fmt: skip
        async with asyncio.timeout(10):
            await self.app(scope, receive, send)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    async def until(self, text: bytes) -> None:
        async with asyncio.timeout(10):
            while text not in self.body:  # noqa: ASYNC110 - what was sent sets no event
                await asyncio.sleep(0.002)


@given(st.binary(max_size=60), st.text("abc-9", max_size=5), st.text("xyz", max_size=5))
def test_an_event_is_parsed_back_as_the_standard_specifies(data: bytes, name: str, id: str) -> None:  # noqa: A002 - the field's name
    text = event(data, name=name, id=id)
    assert text.endswith(b"\n\n")
    assert b"\n\n" not in text[:-2]
    fields = [line.split(b": ", 1) for line in text[:-2].split(b"\n")]
    lines = [value for key, value in fields if key == b"data"]
    assert b"\n".join(lines) == b"\n".join(data.splitlines())
    assert [v.decode() for k, v in fields if k == b"event"] == ([name] if name else [])
    assert [v.decode() for k, v in fields if k == b"id"] == ([id] if id else [])


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0"])
def test_a_name_cannot_smuggle_a_field(bad: str) -> None:
    with pytest.raises(ValueError, match="not possible"):
        event(b"", name=bad)
    with pytest.raises(ValueError, match="not possible"):
        event(b"", id=bad)


async def test_a_stream_sends_events_and_ends_with_a_retry_time() -> None:
    source = Source()
    for n in (1, 2, None):
        source.queue.put_nowait(n)
    listening = Listening(source.app())
    await listening.run()
    start = dict(listening.sent[0]["headers"])
    assert start[b"content-type"] == b"text/event-stream"
    assert start[b"cache-control"] == b"no-store"
    beat, one, two, last = (message["body"] for message in listening.sent[1:])
    assert beat == b":\n\n"
    assert one == b"id: 1\nevent: tick\ndata: 1\n\n"
    assert two == b"id: 2\nevent: tick\ndata: 2\n\n"
    assert last.startswith(b"retry: ")
    assert not listening.sent[-1].get("more_body", False)
    assert source.closed == 1


async def test_an_error_before_the_stream_is_a_problem() -> None:
    answer = await TestClient(Source(refuse=True).app()).get("/ticks", headers=ACCEPT)
    assert (answer.status, answer.json()["detail"]) == (429, "too many")


async def test_a_client_that_accepts_no_events_gets_406() -> None:
    source = Source()
    source.queue.put_nowait(None)
    app = source.app()
    refused = await TestClient(app).get("/ticks", headers={"accept": "application/json"})
    assert refused.status == 406
    assert source.opened == 0
    assert (await TestClient(app).get("/ticks", headers={"accept": "text/*"})).status == 200


async def test_head_opens_and_closes_at_once() -> None:
    source = Source()
    listening = Listening(source.app(), method="HEAD")
    await listening.run()
    assert (listening.sent[0]["status"], listening.body, source.closed) == (200, b"", 1)


async def test_the_request_timeout_ends_when_the_stream_begins() -> None:
    source = Source()
    listening = Listening(source.app(request_timeout=0.05))
    running = asyncio.create_task(listening.run())
    await listening.until(b":")
    await asyncio.sleep(0.15)
    source.queue.put_nowait(7)
    await listening.until(b"data: 7")
    source.queue.put_nowait(None)
    await running


async def test_comments_are_sent_at_intervals() -> None:
    source = Source(heartbeat=0.01)
    listening = Listening(source.app())
    running = asyncio.create_task(listening.run())
    await listening.until(b":\n\n" * 4)
    source.queue.put_nowait(None)
    await running


@dataclass(frozen=True)
class Ada:
    subject: str = "ada"
    scopes: frozenset[str] = frozenset()
    expires_at: float = math.inf


@dataclass
class Revocable:
    """Accepts every token until it is told otherwise, and counts the looks."""

    accepts: bool = True
    looks: int = 0

    def verify(self, token: str) -> Ada:
        self.looks += 1
        if not self.accepts:
            raise Unauthorized("the token's key is not known")
        return Ada()

    def recall(self, token: str) -> Ada | None:
        return None


async def test_a_stream_ends_when_its_token_is_not_accepted_any_more() -> None:
    source, tokens = Source(recheck=0.01), Revocable()
    app = App()
    app.group("", authenticate(tokens)).get("/ticks", source.follow)
    listening = Listening(app, headers=[(b"authorization", b"Bearer good")])
    stream = asyncio.create_task(listening.run())
    source.queue.put_nowait(1)
    await listening.until(b"data: 1\n")
    async with asyncio.timeout(5):
        while tokens.looks < 3:  # noqa: ASYNC110 - what is verified sets no event
            await asyncio.sleep(0.002)
    assert not stream.done()
    tokens.accepts = False
    await stream
    assert b"retry: " in listening.body
    assert source.closed == 1


@pytest.mark.parametrize("lifetime", [0.0, 0.05])
async def test_a_stream_ends_with_its_lifetime(lifetime: float) -> None:
    source = Source(lifetime=lifetime)
    listening = Listening(source.app())
    await listening.run()
    assert b"retry: " in listening.body
    assert source.closed == 1


async def test_a_client_that_disconnects_ends_the_stream() -> None:
    source = Source()
    listening = Listening(source.app())
    running = asyncio.create_task(listening.run())
    await listening.until(b":")
    listening.left.set()
    await running
    assert source.closed == 1


async def test_a_stream_that_is_cancelled_closes_its_source_and_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    source = Source(heartbeat=0.001)
    listening = Listening(source.app())
    running = asyncio.create_task(listening.run())
    await listening.until(b":")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert source.closed == 1
    assert not {task for task in asyncio.all_tasks() - before if not task.done()}


def test_the_document_says_that_it_is_a_stream() -> None:
    spec = openapi_document(Source().app(), title="t", version="1")
    content = spec["paths"]["/ticks"]["get"]["responses"]["200"]["content"]
    assert list(content) == ["text/event-stream"]
    assert content["text/event-stream"]["x-itemSchema"] == {"$ref": "#/components/schemas/Tick"}
