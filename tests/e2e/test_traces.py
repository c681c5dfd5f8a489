"""One order's trace: HTTP, the outbox, NATS, the worker and PostgreSQL, as one trace in one store.

`serve` and `worker` run as processes of their own, one sending its spans over gRPC, the other over
HTTP. With Jaeger, a real store, if it was built (`make trace` builds it, and prints the tree); with
a receiver in the test in any case.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from external_tools import go_tool
from jaeger import StoredSpan, format_trace, running_jaeger
from otlp_receiver import Received, grpc_receiver, http_receiver
from processes import ApiClient, ServiceCommand, create_accounts, free_port
from service_process import PATIENCE

from paceline.engines import NatsEngine
from paceline.testing import make_token

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

# Whose span stands below whose.
SHAPE = {
    ("myservice", "POST /api/v1/orders"): "",
    ("myservice", "OrderHandler.place_order"): "POST /api/v1/orders",
    ("myservice", "placing orders"): "OrderHandler.place_order",
    ("myservice", "INSERT orders"): "placing orders",
    ("myservice", "INSERT outbox"): "placing orders",
    ("myservice", "COMMIT"): "placing orders",
    ("myservice-worker", "send orders.created"): "OrderHandler.place_order",
    ("myservice-worker", "process orders.created"): "send orders.created",
    ("myservice-worker", "SELECT orders"): "process orders.created",
    ("myservice-worker", "INSERT inbox"): "process orders.created",
    ("myservice-worker", "UPDATE accounts INSERT transfers"): "process orders.created",
    ("myservice-worker", "UPDATE orders"): "process orders.created",
    ("myservice-worker", "COMMIT"): "process orders.created",
}


@dataclass
class TracedOrders:
    """The two processes, where to order, and what is in the accounts."""

    api: ApiClient
    accounts: list[str]
    logs: list[Path]

    async def place(self) -> str:
        """Order, wait until it is paid; gives the id of its trace, which the log has."""
        one, other = self.accounts
        status, placed = await self.api.request(
            "POST", "/api/v1/orders", {"from": one, "to": other, "amount": 5}
        )
        assert status == 202, placed
        async with asyncio.timeout(PATIENCE):
            while True:
                _, found = await self.api.request("GET", f"/api/v1/orders/{placed['id']}")
                if found["status"] != "pending":
                    break
                await asyncio.sleep(0.05)
        assert found["status"] == "paid"
        lines = [json.loads(line) for line in self.logs[0].read_text().splitlines()]
        return [str(line["trace_id"]) for line in lines if line.get("path") == "/api/v1/orders"][-1]


@asynccontextmanager
async def running(
    folder: Path, dsn: str, nats: str, serve_to: str, worker_to: str, *, ends: set[int]
) -> AsyncGenerator[TracedOrders]:
    """Both processes, until the block ends, sending their spans to these addresses."""

    def command(word: str, port: int, collector: str, listens: str) -> ServiceCommand:
        ports = {"APP_PORT": "0", "APP_ADMIN_PORT": "0", listens: str(port)}
        return ServiceCommand(
            word, port=port, log=folder / f"{word}.log",
            APP_PORT=ports["APP_PORT"], APP_ADMIN_PORT=ports["APP_ADMIN_PORT"],
            APP_DATABASE_URL=dsn, APP_NATS_URL=nats, APP_TRACE_RATIO="1",
            APP_OTEL_ENDPOINT=collector,
        )  # fmt: skip

    logs = [folder / "serve.log", folder / "worker.log"]
    port = free_port()
    serve = command("serve", port, serve_to, "APP_PORT")
    worker = command("worker", free_port(), worker_to, "APP_ADMIN_PORT")
    accounts = await create_accounts(dsn, "orders", 2, 1000)
    api = ApiClient(port, make_token("orders", "orders:write", "orders:read"))
    try:
        await asyncio.gather(serve.start(), worker.start())
        yield TracedOrders(api, accounts, logs)
    finally:
        codes = await asyncio.gather(serve.terminate(), worker.terminate())
    assert set(codes) == ends, [log.read_text()[-2000:] for log in logs]


def check(spans: Sequence[StoredSpan]) -> None:
    """The trace has the shape, and nothing without a parent but its root."""
    names = {span.id: span.name for span in spans}
    found = {(span.service, span.name): names.get(span.parent, "") for span in spans}
    assert {key: found.get(key) for key in SHAPE} == SHAPE
    assert [span.name for span in spans if span.parent not in names] == ["POST /api/v1/orders"]


def as_stored(span: Received) -> StoredSpan:
    return StoredSpan(
        span.service, span.name, span.id, span.parent,
        span.started_at / 1000, (span.ended_at - span.started_at) / 1000, span.attributes,
    )  # fmt: skip


async def test_one_orders_trace_spans_both_processes(
    tmp_path: Path, migrated: str, nats: NatsEngine
) -> None:
    with grpc_receiver() as one, http_receiver() as other:
        async with running(
            tmp_path, migrated, nats.url, one.address, other.address, ends={0}
        ) as orders:
            trace_id = await orders.place()
        spans = [each for each in (*one.spans, *other.spans) if each.trace == trace_id]
    check([as_stored(each) for each in spans])


async def test_without_a_collector_the_service_works_and_logs_it_once(
    tmp_path: Path, migrated: str, nats: NatsEngine
) -> None:
    unreachable = f"grpc://127.0.0.1:{free_port()}"
    async with running(tmp_path, migrated, nats.url, unreachable, unreachable, ends={0}) as orders:
        for _ in range(3):
            await orders.place()
    for log in orders.logs:
        text = log.read_text()
        assert text.count("traces cannot be sent") == 1, text
        assert "opentelemetry" not in text


async def test_a_real_store_shows_it(tmp_path: Path, migrated: str, nats: NatsEngine) -> None:
    with running_jaeger(go_tool("jaeger", "--built"), tmp_path) as jaeger:
        async with running(
            tmp_path, migrated, nats.url, jaeger.grpc, jaeger.http, ends={0}
        ) as orders:
            trace_ids = [await orders.place() for _ in range(5)]  # plans are made by the last
        spans = await _until(lambda: jaeger.trace(trace_ids[-1]))
    print(f"\ntrace {trace_ids[-1]}\n{format_trace(spans)}")  # noqa: T201 - `make trace` is for looking at it
    check(spans)


async def _until(ask: Callable[[], list[StoredSpan]]) -> list[StoredSpan]:
    """What it answers once it has enough of them."""
    async with asyncio.timeout(PATIENCE):
        while len(found := await asyncio.to_thread(ask)) < len(SHAPE):  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.1)
    return found
