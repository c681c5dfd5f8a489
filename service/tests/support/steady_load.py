"""A load over HTTP and gRPC, on kept and on new connections, that never retries.

`KeepAliveClient` behaves like a proxy: it keeps its connection and opens a new one only after the
server has sent ``connection: close``. A connection that ends otherwise, or a request without a
response, is a failure. `SteadyLoad` runs many clients and records every failure and every record
whose creation was acknowledged.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import records_pb2_grpc
from grpc import aio

from myservice.proto.v1 import records_pb2
from paceline.testing import make_token

_SCOPES = ("records:read", "records:write")
_PATIENCE = 30.0
OK, CREATED = 200, 201


class KeepAliveClient:
    """One connection at a time."""

    def __init__(self, port: Callable[[], int], token: str) -> None:
        self._port = port
        self._token = token
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        close: bool = False,
    ) -> tuple[int, bytes]:
        """Send and read the response. Errors: OSError, IncompleteReadError, TimeoutError."""
        content = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: steady\r\nAuthorization: Bearer {self._token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
            f"{'Connection: close' if close else 'Accept: */*'}\r\n\r\n"
        )
        async with asyncio.timeout(_PATIENCE):
            if self._reader is None or self._writer is None:
                opened = await asyncio.open_connection("127.0.0.1", self._port())
                self._reader, self._writer = opened
            reader = self._reader
            self._writer.write(head.encode() + content)
            status = int((await reader.readuntil(b"\r\n")).split()[1])
            lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
            fields = dict(line.split(b": ", 1) for line in lines if line)
            answer = await reader.readexactly(int(fields[b"content-length"]))
        if fields.get(b"connection") == b"close":
            self.close()
        return status, answer

    def close(self) -> None:
        """Close the connection."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


@dataclass
class SteadyLoad:
    """Clients of one server. ``answered`` and ``failures`` are by kind of client.

    ``waits_for_ready``: a call over gRPC waits for a connection, however many attempts that takes;
    then only calls that were in flight on one that broke fail.
    """

    port: Callable[[], int]
    grpc_port: int | None = None
    token: str = field(default_factory=lambda: make_token("steady", *_SCOPES))
    waits_for_ready: bool = False
    stopped: bool = False
    answered: dict[str, int] = field(default_factory=dict[str, int])
    failures: list[str] = field(default_factory=list[str])
    created: list[str] = field(default_factory=list[str])
    slowest: float = 0.0

    async def until_more(self, requests: int) -> None:
        """Wait for so many more responses to each kind of client."""
        wanted = {kind: count + requests for kind, count in self.answered.items()}
        async with asyncio.timeout(_PATIENCE):
            while any(self.answered[kind] < count for kind, count in wanted.items()):  # noqa: ASYNC110 - many tasks change it
                await asyncio.sleep(0.02)

    async def http(self, kind: str, *, pause: float, close: bool = False) -> None:
        """Create a record and read it, repeatedly, with up to ``pause`` seconds in between."""
        client = KeepAliveClient(self.port, self.token)
        try:
            while not self.stopped:
                body = {"name": f"{kind}-{len(self.created)}"}
                answer = await self._count(
                    kind, client, "POST", "/api/v1/records", body, close=close
                )
                if answer is not None:
                    record = json.loads(answer)["id"]
                    self.created.append(record)
                    path = f"/api/v1/records/{record}"
                    await self._count(kind, client, "GET", path, close=close)
                await asyncio.sleep(random.random() * pause)  # noqa: S311 - a load, not a secret
        finally:
            client.close()

    async def grpc(self, kind: str, *, calls: int) -> None:
        """Read records, on a new channel after so many calls."""
        metadata = (("authorization", f"Bearer {self.token}"),)
        options = [("grpc.use_local_subchannel_pool", 1)]
        while not self.stopped:
            address = f"127.0.0.1:{self.grpc_port}"
            async with aio.insecure_channel(address, options=options) as channel:
                stub: records_pb2_grpc.RecordServiceAsyncStub = records_pb2_grpc.RecordServiceStub(
                    channel
                )
                for _ in range(calls):
                    if self.stopped or not self.created:
                        break
                    request = records_pb2.GetRecordRequest(id=random.choice(self.created))  # noqa: S311 - as above
                    began = time.monotonic()
                    try:
                        await stub.GetRecord(
                            request,
                            metadata=metadata,
                            timeout=_PATIENCE,
                            wait_for_ready=self.waits_for_ready,
                        )
                    except aio.AioRpcError as error:
                        self.failures.append(f"{kind}: {error.code()} {error.details()}")
                    self._answered(kind, began)
                    await asyncio.sleep(0.005)
            await asyncio.sleep(0.01)

    async def _count(
        self, kind: str, client: KeepAliveClient, method: str, path: str,
        body: Mapping[str, object] | None = None, *, close: bool,
    ) -> bytes | None:  # fmt: skip
        began = time.monotonic()
        try:
            status, answer = await client.request(method, path, body, close=close)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            self.failures.append(f"{kind}: {method} {type(error).__name__} {error}")
            client.close()
            return None
        if status not in (OK, CREATED):
            self.failures.append(f"{kind}: {method} {status} {answer.decode()[:200]}")
            return None
        self._answered(kind, began)
        return answer

    def _answered(self, kind: str, began: float) -> None:
        self.answered[kind] = self.answered.get(kind, 0) + 1
        self.slowest = max(self.slowest, time.monotonic() - began)


@asynccontextmanager
async def steady_load(load: SteadyLoad, *, clients: int) -> AsyncGenerator[SteadyLoad]:
    """Run so many clients of each kind during the block, which begins once all kinds have responses."""
    async with asyncio.TaskGroup() as group:
        works: list[asyncio.Task[None]] = []
        for _ in range(clients):
            works += [
                group.create_task(load.http("busy", pause=0.02)),
                group.create_task(
                    load.http("idle", pause=1.5)
                ),  # less than the grace period of a stop
                group.create_task(load.http("new", pause=0.05, close=True)),
            ]
            if load.grpc_port is not None:
                works += [
                    group.create_task(load.grpc("channel", calls=1_000_000)),
                    group.create_task(load.grpc("channels", calls=5)),
                ]
        kinds = 3 if load.grpc_port is None else 5
        async with asyncio.timeout(_PATIENCE):
            while len(load.answered) < kinds:  # noqa: ASYNC110 - many tasks change it
                await asyncio.sleep(0.02)
        try:
            yield load
        finally:
            load.stopped = True
