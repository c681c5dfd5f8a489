"""Records that are changed and read at several servers at once, by who knows what they must be.

A `Shelf` has one record for each client. All of its changes are made at one server, its home. A read
there must never give an older version than was acknowledged before; at the other servers, too, but
for the time just after an outage of the cache (see ``paceline.redis.cache_aside``), in which `calm` is off.
No request may fail. Used by ``test_redis_away``.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from processes import Api
from service_process import PATIENCE

CREATED, OK = 201, 200


@dataclass
class _Book:
    path: str
    home: Api
    version: int = 1  # acknowledged


class Shelf:
    """The records. ``calm``: nobody may read an older version than was acknowledged."""

    def __init__(self, servers: Sequence[Api]) -> None:
        self.calm = True
        self.closed = False
        self.reads = 0
        self.changes = 0
        self._servers = servers
        self._books: list[_Book] = []

    async def fill(self, count: int) -> None:
        """Create ``count`` records."""
        for number in range(count):
            home = self._servers[number % len(self._servers)]
            body = {"name": f"book-{number}"}
            status, answer = await home.request("POST", "/api/v1/records", body)
            assert status == CREATED, answer
            self._books.append(_Book(f"/api/v1/records/{answer['id']}", home))

    def use(self, group: asyncio.TaskGroup) -> None:
        """One client for each record changes it, two read any, until the shelf is closed."""
        for number, book in enumerate(self._books):
            group.create_task(self._change(book, random.Random(number)))  # noqa: S311 - a load, not a secret
            for reader in (1, 2):
                group.create_task(self._read_any(random.Random(-number * reader)))  # noqa: S311 - as above

    async def until_more(self, count: int) -> None:
        """Wait until so many more changes were acknowledged."""
        wanted = self.changes + count
        give_up = time.monotonic() + PATIENCE
        while self.changes < wanted:
            assert time.monotonic() < give_up, "no change is acknowledged any more"
            await asyncio.sleep(0.02)

    async def until_fresh(self, seconds: float) -> None:
        """Wait until every server knows every record as it is. Errors: AssertionError if late."""
        give_up = time.monotonic() + seconds
        for book in self._books:
            for server in self._servers:
                while not await self._is_fresh(book, server):
                    assert time.monotonic() < give_up, f"{book.path} stays stale"

    async def _change(self, book: _Book, draw: random.Random) -> None:
        while not self.closed:
            body = {"name": f"{book.path[-8:]} {book.version}"}
            status, answer = await book.home.request("PUT", book.path, body)
            assert status == OK, answer
            assert int(answer["version"]) == book.version + 1
            book.version += 1
            self.changes += 1
            await asyncio.sleep(draw.random() / 50)

    async def _read_any(self, draw: random.Random) -> None:
        while not self.closed:
            book, server = draw.choice(self._books), draw.choice(self._servers)
            calm = self.calm
            fresh = await self._is_fresh(book, server)
            must_be = server is book.home or (calm and self.calm)
            assert fresh or not must_be, f"{book.path} was stale"
            self.reads += 1

    async def _is_fresh(self, book: _Book, server: Api) -> bool:
        least = book.version
        status, answer = await server.request("GET", book.path)
        assert status == OK, answer
        return int(answer["version"]) >= least
