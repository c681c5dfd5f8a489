"""Subscribers of the stream of changes, and a client that creates records.

`UpdateSubscriber` behaves like a browser's EventSource: when its stream ends, for whatever reason,
it reconnects with Last-Event-ID, to the next of its servers.
"""

import asyncio
from collections.abc import Collection, Sequence
from itertools import cycle

from event_stream import PATIENCE, EventStream
from order_load import OrderLoad
from processes import ApiClient

CREATED, OK = 201, 200


class UpdateSubscriber:
    """Collects the ids of created records, in the order of their events."""

    def __init__(self, servers: Sequence[ApiClient]) -> None:
        self.received: list[str] = []
        self.connected = asyncio.Event()
        self._servers = servers
        self._last = ""

    async def run(self) -> None:
        """Subscribe until cancelled."""
        for server in cycle(self._servers):
            try:
                await self._subscribe(server)
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.05)

    async def until_received(self, records: Collection[str]) -> None:
        """Wait until the events of all of them have arrived."""
        async with asyncio.timeout(PATIENCE):
            while not set(self.received) >= set(records):  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(0.05)

    async def _subscribe(self, server: ApiClient) -> None:
        stream = EventStream(*await asyncio.open_connection("127.0.0.1", server.port))
        more = [f"Last-Event-ID: {self._last}"] if self._last else []
        try:
            await stream.open("/api/v1/records/updates", server.token, *more)
            assert stream.status == OK
            self.connected.set()
            while (event := await stream.next_event()) is not None:
                assert event.name == "created"
                self._last = event.id
                self.received.append(event.data["id"])
        finally:
            stream.writer.close()


async def create_records(orders: OrderLoad) -> list[str]:
    """Create records at the servers in turn, until the load is stopped; returns their ids."""
    created: list[str] = []
    for number in orders.numbers_until_stopped():
        server = orders.targets[number % len(orders.targets)]
        body = {"name": f"record-{number}", "metadata": {}, "data": {"n": number}}
        status, answer = await orders.client_of(server).request("POST", "/api/v1/records", body)
        assert status == CREATED, answer
        created.append(answer["id"])
        await asyncio.sleep(0.02)
    return created
