"""A client of server-sent events on a connection of its own, which the caller closes.

It reads the chunks of the response; one chunk is one event or a comment.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec

PATIENCE = 20.0


@dataclass
class Event:
    id: str
    name: str
    data: Any


@dataclass
class EventStream:
    """One stream of events; comments are skipped."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int = 0
    retry: str = ""

    async def open(self, target: str, bearer: str, *more: str) -> None:
        lines = [f"GET {target} HTTP/1.1", "Host: a", f"Authorization: Bearer {bearer}", *more]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
        self.status = int(head.split()[1])

    async def next_event(self) -> Event | None:
        """The next event; None at the end of the stream."""
        while True:
            async with asyncio.timeout(PATIENCE):
                size = int(await self.reader.readline(), 16)
                block = (await self.reader.readexactly(size + 2)).decode().strip()
            if not size:
                return None
            fields = dict(line.split(": ", 1) for line in block.splitlines() if line != ":")
            self.retry = fields.get("retry", self.retry)
            if "data" in fields:
                data = msgspec.json.decode(fields["data"])
                return Event(fields["id"], fields["event"], data)
