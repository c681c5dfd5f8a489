"""Hundreds of subscribers with an old position who do not read, on real sockets.

Each of them could hold a page of changes in the process. What they hold together is bounded, other
callers are answered meanwhile, and a subscriber who reads gets every change.
"""

import asyncio
import struct
import urllib.request
from collections.abc import Awaitable, Callable, Generator
from contextlib import AsyncExitStack
from pathlib import Path

import h2.config
import h2.connection
import msgspec
import pytest
from event_stream import EventStream
from service_process import ServiceProcess, running_service

from myservice.proto.v1 import records_pb2 as pb

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

UPDATES = "/api/v1/records/updates"
CHANGES = 150
SIZE = 60_000
FOLLOWERS = 300
ALLOWED = 160 * 1024 * 1024
"""Growth of the process in bytes: half of 64 MiB, an update and a socket's buffer for each."""


Follow = Callable[[ServiceProcess, str, AsyncExitStack], Awaitable[None]]


@pytest.fixture
def service(tmp_path: Path) -> Generator[ServiceProcess]:
    with running_service(
        tmp_path / "data", APP_STREAMS_PER_CALLER=str(FOLLOWERS + 1), APP_RATE_LIMIT="0"
    ) as started:
        yield started


def resident(service: ServiceProcess) -> int:
    """Bytes of memory of the service's own process."""
    lines = Path(f"/proc/{service.process.pid}/status").read_text().splitlines()
    (line,) = [each for each in lines if each.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


def create_record(service: ServiceProcess, size: int) -> int:
    body = msgspec.json.encode({"name": "large", "data": "x" * size})
    head = {"authorization": f"Bearer {service.token}", "content-type": "application/json"}
    request = urllib.request.Request(f"{service.url}/api/v1/records", body, head)  # noqa: S310
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        status: int = answer.status
    return status


async def connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that reads a few kilobytes ahead of its user and no more."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    return await asyncio.open_connection(host, int(port), limit=4096)


async def first_position(service: ServiceProcess) -> str:
    """The position of a first change, from which all others are to be read."""
    stream = EventStream(*await connect(service.url))
    await stream.open(UPDATES, service.token)
    await asyncio.to_thread(create_record, service, 1)
    event = await stream.next_event()
    stream.writer.close()
    assert event is not None
    return event.id


async def follow_http(service: ServiceProcess, after: str, stack: AsyncExitStack) -> None:
    stream = EventStream(*await connect(service.url))
    stack.callback(stream.writer.close)
    await stream.open(f"{UPDATES}?after={after}", service.token)
    assert stream.status == 200


async def follow_grpc(service: ServiceProcess, after: str, stack: AsyncExitStack) -> None:
    """A call whose client never lets the server send more than the first 64 KiB."""
    reader, writer = await connect(service.grpc)
    stack.callback(writer.close)
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    head = [
        (":method", "POST"), (":scheme", "http"), (":authority", "a"),
        (":path", "/myservice.v1.RecordService/StreamUpdates"),
        ("content-type", "application/grpc"), ("te", "trailers"),
        ("authorization", f"Bearer {service.token}"),
    ]  # fmt: skip
    message = pb.StreamRequest(after=after).SerializeToString()
    client.send_headers(1, head)
    client.send_data(1, struct.pack(">BI", 0, len(message)) + message, end_stream=True)
    writer.write(client.data_to_send())
    async with asyncio.timeout(20):
        await reader.readexactly(100)


@pytest.mark.parametrize("follow", [follow_http, follow_grpc], ids=["http", "grpc"])
async def test_followers_who_do_not_read_hold_little_and_stop_nobody(
    service: ServiceProcess, follow: Follow
) -> None:
    after = await first_position(service)
    for _ in range(CHANGES):
        assert await asyncio.to_thread(create_record, service, SIZE) == 201
    before = resident(service)
    async with AsyncExitStack() as stack:
        for _ in range(FOLLOWERS // 20):
            await asyncio.gather(*(follow(service, after, stack) for _ in range(20)))
        reading = EventStream(*await asyncio.open_connection(*address_of(service), limit=2**20))
        stack.callback(reading.writer.close)
        await reading.open(f"{UPDATES}?after={after}", service.token)
        events = [await reading.next_event() for _ in range(CHANGES)]
        assert [each.name for each in events if each] == ["created"] * CHANGES
        assert len({each.id for each in events if each}) == CHANGES
        assert await asyncio.to_thread(create_record, service, 1) == 201
        last = await reading.next_event()
        assert last is not None
        assert last.name == "created"
        grown = resident(service) - before
    assert grown < ALLOWED, f"{grown >> 20} MiB for {FOLLOWERS} followers"
    assert '"level":"error"' not in service.log()


def address_of(service: ServiceProcess) -> tuple[str, int]:
    host, _, port = service.url.rpartition("/")[2].rpartition(":")
    return host, int(port)
