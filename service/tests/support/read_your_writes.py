"""Concurrent changes and reads of records at several servers, which assert read-your-writes.

`ReadYourWritesLoad` has one record for each writer, whose changes all go to one server, its home. A
read there must never return an older version than was acknowledged before; nor at the other servers,
except just after an outage of the cache (see ``paceline.redis``), while ``consistent`` is False. No
request may fail.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from processes import ApiClient
from service_process import PATIENCE

CREATED, OK = 201, 200


@dataclass
class _TrackedRecord:
    path: str
    home: ApiClient
    version: int = 1  # acknowledged


class ReadYourWritesLoad:
    """The records and their clients. ``consistent``: no server may return an older version."""

    def __init__(self, servers: Sequence[ApiClient]) -> None:
        self.consistent = True
        self.stopped = False
        self.reads = 0
        self.changes = 0
        self._servers = servers
        self._records: list[_TrackedRecord] = []

    async def create_records(self, count: int) -> None:
        """Create ``count`` records."""
        for number in range(count):
            home = self._servers[number % len(self._servers)]
            body = {"name": f"record-{number}"}
            status, answer = await home.request("POST", "/api/v1/records", body)
            assert status == CREATED, answer
            self._records.append(_TrackedRecord(f"/api/v1/records/{answer['id']}", home))

    def start_clients(self, group: asyncio.TaskGroup) -> None:
        """Start a writer and two readers for each record, until the load is stopped."""
        for number, record in enumerate(self._records):
            group.create_task(self._change(record, random.Random(number)))  # noqa: S311 - a load, not a secret
            for reader in (1, 2):
                group.create_task(self._read_any(random.Random(-number * reader)))  # noqa: S311 - as above

    async def until_more(self, count: int) -> None:
        """Wait until so many more changes were acknowledged."""
        wanted = self.changes + count
        deadline = time.monotonic() + PATIENCE
        while self.changes < wanted:
            assert time.monotonic() < deadline, "no change is acknowledged any more"
            await asyncio.sleep(0.02)

    async def until_consistent(self, seconds: float) -> None:
        """Wait until every server returns every record's last version. Errors: AssertionError if late."""
        deadline = time.monotonic() + seconds
        for record in self._records:
            for server in self._servers:
                while not await self._is_current(record, server):
                    assert time.monotonic() < deadline, f"{record.path} stays stale"

    async def _change(self, record: _TrackedRecord, draw: random.Random) -> None:
        while not self.stopped:
            body = {"name": f"{record.path[-8:]} {record.version}"}
            status, answer = await record.home.request("PUT", record.path, body)
            assert status == OK, answer
            assert int(answer["version"]) == record.version + 1
            record.version += 1
            self.changes += 1
            await asyncio.sleep(draw.random() / 50)

    async def _read_any(self, draw: random.Random) -> None:
        while not self.stopped:
            record, server = draw.choice(self._records), draw.choice(self._servers)
            consistent = self.consistent
            current = await self._is_current(record, server)
            must_be = server is record.home or (consistent and self.consistent)
            assert current or not must_be, f"{record.path} was stale"
            self.reads += 1

    async def _is_current(self, record: _TrackedRecord, server: ApiClient) -> bool:
        least = record.version
        status, answer = await server.request("GET", record.path)
        assert status == OK, answer
        return int(answer["version"]) >= least
