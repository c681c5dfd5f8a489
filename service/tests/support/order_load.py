"""A load of orders on several servers and workers, and the invariants that must hold afterwards.

`running_order_load` starts the commands on running engines; `start_clients` starts clients that
retry each order under one Idempotency-Key until it is accepted; rate limit and load shedding are
the default ones. `verify_orders` then asserts: each accepted order has one final state, some are
paid, each paid one has one transfer, the total of the balances is unchanged, ``ledger verify`` is
clean, and the dead-letter queue is empty.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from processes import (
    ApiClient,
    ServiceCommand,
    create_accounts,
    fetch_rows,
    free_port,
    run_command,
)
from service_process import PATIENCE

from paceline.testing import make_token

ACCEPTED, READY, UNREADY = 202, 200, 503
ACCOUNTS, BALANCE = 20, 200_000
_TRY_AGAIN = frozenset({429, 503, 504})
_SCOPES = ("orders:write", "records:read", "records:write")


class Listener(Protocol):
    """A server, or a load balancer in front of several."""

    @property
    def port(self) -> int:
        """The port it listens on."""
        ...


@dataclass
class OrderLoad:
    """The processes under load, and the state of the clients.

    ``targets``: where requests go. ``strict``: nothing is killed, so a request to a server that
    listens must be accepted. ``accepted``: the id of each order, by its reference. ``retried``:
    requests that were sent again, by status or error. The clients run until ``stopped``.
    """

    dsn: str
    nats_url: str
    accounts: list[str]
    token: str
    servers: list[ServiceCommand]
    workers: list[ServiceCommand]
    targets: Sequence[Listener]
    strict: bool = False
    stopped: bool = False
    accepted: dict[str, str] = field(default_factory=dict[str, str])
    retried: Counter[str] = field(default_factory=Counter[str])

    def client_of(self, command: Listener) -> ApiClient:
        """A client of one server."""
        return ApiClient(command.port, self.token)

    async def ready_status(self, command: ServiceCommand) -> int:
        """The status of its ``/ready``; 0 when it does not listen."""
        try:
            status, _ = await self.client_of(command).request("GET", "/ready")
        except OSError:
            return 0
        return status

    async def until_ready_is(self, status: int, *commands: ServiceCommand) -> None:
        """Wait until ``/ready`` of each has this status."""
        await asyncio.gather(*(self._until_ready_is(status, each) for each in commands))

    async def _until_ready_is(self, status: int, command: ServiceCommand) -> None:
        deadline = time.monotonic() + PATIENCE
        while (found := await self.ready_status(command)) != status:
            assert time.monotonic() < deadline, f"/ready is {found} instead of {status}"
            await asyncio.sleep(0.05)

    def numbers_until_stopped(self) -> Iterator[int]:
        """Numbers for orders, until the load is stopped."""
        number = 0
        while not self.stopped:
            yield number
            number += 1

    async def place_orders(self, numbers: Iterator[int], draw: random.Random) -> None:
        """Place random orders, one for each number."""
        for number in numbers:
            one, other = draw.sample(self.accounts, 2)
            body = {
                "from": one, "to": other, "amount": draw.randint(1, 5000), "reference": str(number),
            }  # fmt: skip
            self.accepted[str(number)] = await self._place_order(draw, body, f"order-{number}")

    async def until_accepted(self, count: int) -> None:
        """Wait until so many orders are accepted."""
        deadline = time.monotonic() + PATIENCE
        while len(self.accepted) < count:
            assert time.monotonic() < deadline, "no order is accepted any more"
            await asyncio.sleep(0.01)

    async def until_more(self, count: int) -> None:
        """Wait until so many more orders are accepted than now."""
        await self.until_accepted(len(self.accepted) + count)

    async def until_decided(self, seconds: float) -> None:
        """Wait until no order is pending."""
        deadline = time.monotonic() + seconds
        pending = "SELECT count(*) AS n FROM orders WHERE status = 'pending'"
        while (left := (await fetch_rows(self.dsn, pending))[0]["n"]) > 0:
            assert time.monotonic() < deadline, f"{left} orders are still pending"
            await asyncio.sleep(0.2)

    async def _place_order(self, draw: random.Random, body: Mapping[str, object], key: str) -> str:
        """Retry until the order is accepted; returns its id."""
        deadline = time.monotonic() + PATIENCE
        while True:
            api = self.client_of(draw.choice(self.targets))
            try:
                status, answer = await api.request("POST", "/api/v1/orders", body, key)
                if status == ACCEPTED:
                    return answer["id"]
                assert not self.strict, (status, answer)
                # ABORTED (409): the transaction lost against another one. UNKNOWN (500): the
                # database was lost during a commit, so only the key tells what became of it.
                again = status in _TRY_AGAIN or answer.get("code") in {"ABORTED", "UNKNOWN"}
                assert again, (status, answer)
                reason = str(status)
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as exc:
                if self.strict and not isinstance(exc, ConnectionRefusedError):
                    raise
                reason = type(exc).__name__
            assert time.monotonic() < deadline, "no server answers"
            self.retried[reason] += 1
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running_order_load(
    folder: Path, dsn: str, nats_url: str, *, servers: int = 1, workers: int = 1, **settings: str
) -> AsyncGenerator[OrderLoad]:
    """Servers and workers on a migrated database. ``settings``: of all processes.

    *Resources*: the processes, which must end with exit code 0 at the end of the block.
    """
    accounts = await create_accounts(dsn, "orders", ACCOUNTS, BALANCE)
    common = {
        "APP_DATABASE_URL": dsn, "APP_NATS_URL": nats_url, **settings,
    }  # fmt: skip

    def command(words: str, number: int, variable: str) -> ServiceCommand:
        port = free_port()
        log = folder / f"{words}-{number}.log"
        own = {"APP_ADMIN_PORT": "0", variable: str(port)}
        rpc_port = free_port() if words == "serve" else 0
        return ServiceCommand(words, port=port, grpc_port=rpc_port, log=log, **common, **own)

    serving = [command("serve", number, "APP_PORT") for number in range(servers)]
    working = [command("worker", number, "APP_ADMIN_PORT") for number in range(workers)]
    orders = OrderLoad(
        dsn, nats_url, accounts, make_token("orders", *_SCOPES), serving, working, [*serving]
    )
    try:
        await asyncio.gather(*(each.start() for each in (*serving, *working)))
        yield orders
    finally:
        ends = await asyncio.gather(*(each.terminate() for each in (*serving, *working)))
    assert set(ends) == {0}


async def verify_orders(orders: OrderLoad, *, besides: Collection[str] = ()) -> str:
    """Assert the invariants, once all orders are decided; returns the counts as text.

    ``besides``: ids of transfers that are no orders'.
    """
    count = len(orders.accepted)
    stored = await fetch_rows(orders.dsn, "SELECT id::text, reference, status FROM orders")
    assert {row["reference"]: row["id"] for row in stored} == orders.accepted
    assert len(stored) == count
    paid = {row["id"] for row in stored if row["status"] == "paid"}
    refused = {row["id"] for row in stored if row["status"] == "refused"}
    assert len(paid) + len(refused) == count
    assert paid
    rows = await fetch_rows(orders.dsn, "SELECT id::text FROM transfers WHERE from_id IS NOT NULL")
    assert {row["id"] for row in rows} == paid | {*besides}
    assert len(rows) == len(paid) + len(besides)
    (sums,) = await fetch_rows(orders.dsn, "SELECT sum(balance) AS total FROM accounts")
    assert sums["total"] == len(orders.accounts) * BALANCE
    verify, dead = await asyncio.gather(
        asyncio.to_thread(run_command, "ledger", "verify", APP_DATABASE_URL=orders.dsn),
        asyncio.to_thread(run_command, "dead", "list", APP_NATS_URL=orders.nats_url),
    )
    assert verify.returncode == 0, verify.stdout + verify.stderr
    assert dead.returncode == 0, dead.stderr
    assert dead.stdout == ""
    return (
        f"{count} orders accepted, {len(paid)} paid, {len(refused)} refused, none left;"
        f" {orders.retried.total()} requests retried {dict(orders.retried) or ''}".rstrip()
    )


def start_clients(
    orders: OrderLoad, group: asyncio.TaskGroup, clients: int, numbers: Iterator[int]
) -> Sequence[asyncio.Task[None]]:
    """Start clients that place orders until the numbers are used up."""
    draws = (random.Random(number) for number in range(clients))  # noqa: S311 - a load, not a secret
    return [group.create_task(orders.place_orders(numbers, draw)) for draw in draws]
