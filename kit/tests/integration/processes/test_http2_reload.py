"""A reload under a load of HTTP/2 fails no request.

The client does what RFC 9113 §6.8 asks of one: after a GOAWAY it opens another connection, and sends
again what the old one says it has not processed. Anything else that ends without a response is a
failure, and nothing is tried again.
"""

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from running_supervisor import PATIENCE, supervisor

from paceline.http.server.fields import encode_fields

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

CLIENTS, STREAMS = 4, 3
SOME = 200
RELOADS = 3
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD = encode_fields(
    [(b":method", b"GET"), (b":path", b"/"), (b":scheme", b"http"), (b":authority", b"a")]
)
DATA, HEADERS, SETTINGS, PING, GOAWAY = 0, 1, 4, 6, 7
ACK = END_STREAM = 1
END_HEADERS = 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big")
    return head + payload


class NotProcessedError(Exception):
    """The server has said so: the request may be sent again."""


@dataclass
class Connection:
    """One connection, until the server ends it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    leaving: bool = False
    number: int = 1
    waiting: "dict[int, asyncio.Future[None]]" = field(
        default_factory=dict[int, "asyncio.Future[None]"]
    )

    def request(self) -> "asyncio.Future[None]":
        number, self.number = self.number, self.number + 2
        self.writer.write(frame(HEADERS, END_HEADERS | END_STREAM, number, HEAD))
        response = self.waiting[number] = asyncio.get_running_loop().create_future()
        return response

    async def run(self) -> None:
        """Read frames until the end."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await self.reader.readexactly(9)
                payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
                self.take(head[3], head[4], int.from_bytes(head[5:], "big"), payload)
        self.leaving = True
        for number, response in self.waiting.items():
            response.set_exception(ConnectionError(f"no response on stream {number}"))
        self.waiting.clear()
        self.writer.close()

    def take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind in (SETTINGS, PING) and not flags & ACK:
            self.writer.write(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind == GOAWAY:
            self.leaving = True
            last = int.from_bytes(payload[:4], "big")
            for stream in [stream for stream in self.waiting if stream > last]:
                self.waiting.pop(stream).set_exception(NotProcessedError())
        elif kind in (HEADERS, DATA) and flags & END_STREAM:
            self.waiting.pop(number).set_result(None)


@dataclass
class Load:
    """Clients with some requests at once on a connection each."""

    port: int
    group: asyncio.TaskGroup
    stopped: bool = False
    answered: int = 0
    sent_again: int = 0
    connections: int = 0
    failures: list[str] = field(default_factory=list[str])

    async def connect(self) -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(PREFACE + frame(SETTINGS, 0, 0))
        self.connections += 1
        connection = Connection(reader, writer)
        self.group.create_task(connection.run())
        return connection

    async def run(self) -> None:
        """One client."""
        connection = await self.connect()
        connecting = asyncio.Lock()

        async def one_after_another() -> None:
            nonlocal connection
            while not self.stopped:
                async with connecting:
                    if connection.leaving:
                        connection = await self.connect()
                try:
                    async with asyncio.timeout(PATIENCE):
                        await connection.request()
                except NotProcessedError:
                    self.sent_again += 1
                except (OSError, TimeoutError) as error:
                    self.failures.append(str(error))
                else:
                    self.answered += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(STREAMS):
                group.create_task(one_after_another())
        connection.writer.close()

    async def until_more(self, number: int) -> None:
        wanted = self.answered + number
        async with asyncio.timeout(PATIENCE):
            while self.answered < wanted and not self.failures:  # noqa: ASYNC110 - many change it
                await asyncio.sleep(0.01)


async def test_reloads_under_a_load_of_http2_fail_no_request(tmp_path: Path) -> None:
    async with supervisor(tmp_path) as running:
        await running.until_said("ready")
        async with asyncio.TaskGroup() as group:
            load = Load(running.port, group)
            for _ in range(CLIENTS):
                group.create_task(load.run())
            for number in range(1, RELOADS + 1):
                await load.until_more(SOME)
                running.process.send_signal(signal.SIGHUP)
                await running.until_said("reloaded", number)
            await load.until_more(SOME)
            load.stopped = True
        assert load.failures == []
        assert load.connections > CLIENTS  # both workers were replaced
