"""Records that are created while somebody follows their changes, each over servers of its own.

A `Follower` is what a browser's EventSource is: when its stream ends, however it ends, it comes back
with Last-Event-ID, at the next of its servers. Used by ``test_replicas``.
"""

import asyncio
from collections.abc import Collection, Sequence
from itertools import cycle

from event_stream import PATIENCE, Stream
from order_load import Shop
from processes import Api

CREATED, OK = 201, 200


class Follower:
    """Writes down which records it was told were created, in the order in which it was told."""

    def __init__(self, servers: Sequence[Api]) -> None:
        self.seen: list[str] = []
        self.connected = asyncio.Event()
        self._servers = servers
        self._last = ""

    async def run(self) -> None:
        """Follow until cancelled."""
        for server in cycle(self._servers):
            try:
                await self._follow(server)
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.05)

    async def until_seen(self, records: Collection[str]) -> None:
        """Wait until it was told of all of them."""
        async with asyncio.timeout(PATIENCE):
            while not set(self.seen) >= set(records):  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(0.05)

    async def _follow(self, server: Api) -> None:
        stream = Stream(*await asyncio.open_connection("127.0.0.1", server.port))
        more = [f"Last-Event-ID: {self._last}"] if self._last else []
        try:
            await stream.begin("/api/v1/records/updates", server.token, *more)
            assert stream.status == OK
            self.connected.set()
            while (event := await stream.event()) is not None:
                assert event.name == "created"
                self._last = event.id
                self.seen.append(event.data["id"])
        finally:
            stream.writer.close()


async def create_records(shop: Shop) -> list[str]:
    """Create records, one after the other over the servers in turn, until the shop is closed."""
    created: list[str] = []
    for number in shop.until_closed():
        server = shop.open[number % len(shop.open)]
        body = {"name": f"record-{number}", "metadata": {}, "data": {"n": number}}
        status, answer = await shop.api_of(server).request("POST", "/api/v1/records", body)
        assert status == CREATED, answer
        created.append(answer["id"])
        await asyncio.sleep(0.02)
    return created
