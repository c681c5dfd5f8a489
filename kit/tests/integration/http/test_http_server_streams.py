"""Streams on a real socket: they outlast the time limits, but not their client or the server."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from http_wire import PATIENCE, Client, serving

from paceline.http.app import App
from paceline.http.events import Events, event
from paceline.http.middleware import timeout
from paceline.http.server import ServerLimits

pytestmark = pytest.mark.integration

SOON = 0.08
ASK = b"GET /s HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n"


@dataclass
class Ticker:
    """A stream of what is put into its queue (None ends it), or without end if ``flood``."""

    flood: bytes = b""
    heartbeat: float = 60.0
    queue: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue[bytes | None])
    opened: int = 0
    open: int = 0
    given: int = 0

    @asynccontextmanager
    async def source(self) -> AsyncGenerator[AsyncIterator[bytes]]:
        self.opened += 1
        self.open += 1
        try:
            yield self._items()
        finally:
            self.open -= 1

    async def _items(self) -> AsyncGenerator[bytes]:
        while self.flood:
            self.given += 1
            yield self.flood
            await asyncio.sleep(0)
        while (item := await self.queue.get()) is not None:
            yield item

    async def follow(self) -> Events[bytes]:
        """Follow."""
        return Events(self.source(), event, heartbeat=self.heartbeat)

    def app(self) -> App:
        app = App(timeout(SOON))
        app.group().get("/s", self.follow)
        return app

    async def closed(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.open or not self.opened:  # noqa: ASYNC110 - a counter has no event
                await asyncio.sleep(SOON / 10)


async def chunk(client: Client) -> bytes:
    """The next chunk of a stream; empty at its end."""
    async with asyncio.timeout(PATIENCE):
        size = int(await client.reader.readline(), 16)
        return (await client.reader.readexactly(size + 2))[:-2]


async def test_a_stream_outlasts_the_write_and_the_request_timeout() -> None:
    ticker = Ticker()
    async with serving(ticker.app(), ServerLimits(write_timeout=SOON)) as served:
        client = await served.connect()
        client.send(ASK)
        head = await client.head()
        assert (head.status, head.headers["content-type"]) == (200, "text/event-stream")
        assert await chunk(client) == b":\n\n"
        for data in (b"1", b"2"):
            await asyncio.sleep(3 * SOON)
            ticker.queue.put_nowait(data)
            assert await chunk(client) == b"data: %b\n\n" % data
        ticker.queue.put_nowait(None)
        assert (await chunk(client)).startswith(b"retry: ")
        assert await chunk(client) == b""
        client.send(b"GET /none HTTP/1.1\r\nhost: a\r\n\r\n")  # the connection goes on
        assert (await client.answer()).status == 404
    assert served.log.lines == []


async def test_comments_are_sent_at_intervals() -> None:
    ticker = Ticker(heartbeat=SOON)
    async with serving(ticker.app()) as served:
        client = await served.connect()
        client.send(ASK)
        await client.head()
        assert [await chunk(client) for _ in range(3)] == [b":\n\n"] * 3
        ticker.queue.put_nowait(None)


async def test_a_client_that_disconnects_ends_its_stream() -> None:
    ticker = Ticker()
    async with serving(ticker.app()) as served:
        for _ in range(3):
            client = await served.connect()
            client.send(ASK)
            await client.head()
            assert ticker.open == 1
            client.writer.close()
            await ticker.closed()
    assert served.log.lines == []


async def test_a_client_that_never_reads_stops_the_stream_and_is_cut_off() -> None:
    ticker = Ticker(flood=b"x" * 16_000)
    async with serving(ticker.app(), ServerLimits(write_timeout=3 * SOON)) as served:
        client = await served.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a socket's
        client.send(ASK)
        await ticker.closed()
        given = ticker.given
        assert given < 2_000  # what the two sockets hold, and no more
    assert [event for _, event, _ in served.log.lines] == ["response took too long"]


async def test_a_client_that_reads_slowly_is_not_cut_off() -> None:
    ticker = Ticker(flood=b"x" * 16_000)
    async with serving(ticker.app(), ServerLimits(write_timeout=2 * SOON)) as served:
        client = await served.connect()
        client.send(ASK)
        for _ in range(30):
            await asyncio.sleep(SOON / 4)
            async with asyncio.timeout(PATIENCE):
                await client.reader.readexactly(500_000)
        assert ticker.open == 1
        client.writer.close()
        await ticker.closed()
    assert served.log.lines == []


async def test_a_stream_that_has_ended_does_not_hold_up_the_stop() -> None:
    ticker = Ticker()
    async with serving(ticker.app()) as served:
        client = await served.connect()
        client.send(ASK)
        await client.head()
        stopping = asyncio.create_task(served.server.stop())
        await asyncio.sleep(0)
        ticker.queue.put_nowait(None)
        assert b"retry: " in await client.read_to_end()
        await stopping
    assert served.log.lines == []
