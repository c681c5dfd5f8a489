"""A closed-loop HTTP load generator: so many connections, each with one request out at a time.

Raw sockets on uvloop and as little Python as possible, so that it saturates a one-core server from
the other core. Every answer's status and body length are checked, or a fast wrong answer would
win. ``python bench/load.py PORT PATH CONNECTIONS SECONDS [HEADER: VALUE …]`` prints one JSON line:
requests, errors, seconds, and latency quantiles in milliseconds.
"""

import asyncio
import json
import sys
import time
from typing import cast

import uvloop


class Connection(asyncio.Protocol):
    """Sends the same request again and again until ``stop_at``."""

    def __init__(self, request: bytes, stop_at: float, latencies: list[float]) -> None:
        self.request = request
        self.stop_at = stop_at
        self.latencies = latencies
        self.errors = 0
        self.finished = asyncio.get_running_loop().create_future()
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.send()

    def send(self) -> None:
        self.sent_at = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        marker = head.lower().index(b"content-length:") + 15
        length = int(head[marker:].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        now = time.perf_counter()
        self.latencies.append(now - self.sent_at)
        self.errors += head[9:12] != b"200"
        self.buffer = b""
        if now < self.stop_at:
            self.send()
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished.done():
            self.errors += exc is not None
            self.finished.set_result(None)


async def load(
    port: int, path: str, connections: int, seconds: float, headers: list[str]
) -> dict[str, float]:
    """Run the load and tell what came of it."""
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Accept: */*", *headers]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    loop = asyncio.get_running_loop()
    latencies: list[float] = []

    def never_sleep() -> None:
        loop.call_soon(never_sleep)

    # A sleeping client must be woken by the server's write, which on a virtual machine costs the
    # server more than the write; then a slow server, whose client sleeps, would look slower still.
    never_sleep()
    started = time.perf_counter()
    clients = [
        (await loop.create_connection(
            lambda: Connection(request, started + seconds, latencies), "127.0.0.1", port
        ))[1]
        for _ in range(connections)
    ]  # fmt: skip
    async with asyncio.timeout(seconds + 30):
        await asyncio.gather(*(client.finished for client in clients))
    elapsed = time.perf_counter() - started
    latencies.sort()
    quantiles = {
        name: latencies[min(int(len(latencies) * q), len(latencies) - 1)] * 1000
        for name, q in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)]
    }
    errors = sum(client.errors for client in clients)
    return {"requests": len(latencies), "errors": errors, "seconds": elapsed, **quantiles}


if __name__ == "__main__":
    port, path, connections, seconds, *headers = sys.argv[1:]
    result = uvloop.run(load(int(port), path, int(connections), float(seconds), headers))
    sys.stdout.write(json.dumps(result) + "\n")
