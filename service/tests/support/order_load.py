"""Orders from many clients to however many servers and workers, and what must be true afterwards.

`running_shop` starts the commands on engines that run; `Shop.order` is the load: each client insists
on an answer to each order, under one Idempotency-Key. `check` counts: every order that was accepted
has one final state, each paid one its one transfer, the total is what it was, ``ledger verify`` is
clean, nobody is in the dead-letter queue. Used by ``test_orders_killed`` and ``test_replicas``.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from processes import (
    Api,
    Command,
    free_port,
    open_accounts,
    rows_of,
    run_command,
)
from service_process import PATIENCE

from paceline.testing import make_token

ACCEPTED, READY, UNREADY = 202, 200, 503
ACCOUNTS, BALANCE = 20, 200_000
_MAY_BE_BETTER_NEXT_TIME = frozenset({409, 429, 500, 503, 504})
_SCOPES = ("orders:write", "records:read", "records:write")


class Admission(Protocol):
    """Something that listens."""

    @property
    def port(self) -> int:
        """Where."""
        ...


@dataclass
class Shop:
    """What the clients know, which is where to order and which orders were accepted.

    ``open``: the doors that requests go to, servers or a load balancer before them. ``strict``: nothing is
    killed, so a request to a server that listens must be accepted.
    """

    dsn: str
    nats_url: str
    accounts: list[str]
    token: str
    servers: list[Command]
    workers: list[Command]
    open: Sequence[Admission]
    strict: bool = False
    closed: bool = False
    accepted: dict[str, str] = field(default_factory=dict[str, str])  # reference to order
    sent_again: int = 0

    def api_of(self, command: Admission) -> Api:
        """How to talk to one of them."""
        return Api(command.port, self.token)

    async def ready(self, command: Command) -> int:
        """The status of its ``/ready``; 0 when nobody listens."""
        try:
            status, _ = await self.api_of(command).request("GET", "/ready")
        except OSError:
            return 0
        return status

    async def until_ready_is(self, status: int, *commands: Command) -> None:
        """Wait until each of them has said so."""
        await asyncio.gather(*(self._until_ready_is(status, each) for each in commands))

    async def _until_ready_is(self, status: int, command: Command) -> None:
        give_up = time.monotonic() + PATIENCE
        while (said := await self.ready(command)) != status:
            assert time.monotonic() < give_up, f"/ready says {said} instead of {status}"
            await asyncio.sleep(0.05)

    def until_closed(self) -> Iterator[int]:
        """Numbers for orders until the shop is closed."""
        number = 0
        while not self.closed:
            yield number
            number += 1

    async def order(self, numbers: Iterator[int], draw: random.Random) -> None:
        """Order at random, one order for each number."""
        for number in numbers:
            one, other = draw.sample(self.accounts, 2)
            body = {
                "from": one, "to": other, "amount": draw.randint(1, 5000), "reference": str(number),
            }  # fmt: skip
            self.accepted[str(number)] = await self._insist(draw, body, f"order-{number}")

    async def until_accepted(self, count: int) -> None:
        """Wait until so many orders are accepted."""
        give_up = time.monotonic() + PATIENCE
        while len(self.accepted) < count:
            assert time.monotonic() < give_up, "no order is accepted any more"
            await asyncio.sleep(0.01)

    async def until_more(self, count: int) -> None:
        """Wait until so many more orders are accepted than now."""
        await self.until_accepted(len(self.accepted) + count)

    async def until_decided(self, seconds: float) -> None:
        """Wait until no order is pending."""
        give_up = time.monotonic() + seconds
        pending = "SELECT count(*) AS n FROM orders WHERE status = 'pending'"
        while (left := (await rows_of(self.dsn, pending))[0]["n"]) > 0:
            assert time.monotonic() < give_up, f"{left} orders are still pending"
            await asyncio.sleep(0.2)

    async def _insist(self, draw: random.Random, body: Mapping[str, object], key: str) -> str:
        """Send until the order is accepted; gives its id."""
        give_up = time.monotonic() + PATIENCE
        while True:
            api = self.api_of(draw.choice(self.open))
            try:
                status, answer = await api.request("POST", "/api/v1/orders", body, key)
                if status == ACCEPTED:
                    return answer["id"]
                known = not self.strict and status in _MAY_BE_BETTER_NEXT_TIME
                assert known, (status, answer)
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as exc:
                if self.strict and not isinstance(exc, ConnectionRefusedError):
                    raise
            assert time.monotonic() < give_up, "nobody answers"
            self.sent_again += 1
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running_shop(
    folder: Path, dsn: str, nats_url: str, *, servers: int = 1, workers: int = 1, **settings: str
) -> AsyncGenerator[Shop]:
    """An open shop on a migrated database. ``settings``: of all its processes.

    *Resources*: owns the processes; whoever runs at the end of the block must end well.
    """
    accounts = await open_accounts(dsn, "shop", ACCOUNTS, BALANCE)
    common = {
        "APP_DATABASE_URL": dsn, "APP_NATS_URL": nats_url, "APP_RATE_LIMIT": "0",
        "APP_SHED_DELAY": "0", **settings,
    }  # fmt: skip

    def command(words: str, number: int, variable: str) -> Command:
        port = free_port()
        log = folder / f"{words}-{number}.log"
        own = {"APP_ADMIN_PORT": "0", variable: str(port)}
        rpc_port = free_port() if words == "serve" else 0
        return Command(words, port=port, grpc_port=rpc_port, log=log, **common, **own)

    serving = [command("serve", number, "APP_PORT") for number in range(servers)]
    working = [command("worker", number, "APP_ADMIN_PORT") for number in range(workers)]
    shop = Shop(dsn, nats_url, accounts, make_token("shop", *_SCOPES), serving, working, [*serving])
    try:
        await asyncio.gather(*(each.start() for each in (*serving, *working)))
        yield shop
    finally:
        ends = await asyncio.gather(*(each.leave() for each in (*serving, *working)))
    assert set(ends) == {0}


async def check(shop: Shop) -> str:
    """Count, once all orders are decided; gives the counts in words."""
    count = len(shop.accepted)
    orders = await rows_of(shop.dsn, "SELECT id::text, reference, status FROM orders")
    assert {row["reference"]: row["id"] for row in orders} == shop.accepted
    assert len(orders) == count
    paid = {row["id"] for row in orders if row["status"] == "paid"}
    refused = {row["id"] for row in orders if row["status"] == "refused"}
    assert len(paid) + len(refused) == count
    rows = await rows_of(shop.dsn, "SELECT id::text FROM transfers WHERE from_id IS NOT NULL")
    assert {row["id"] for row in rows} == paid
    assert len(rows) == len(paid)
    (sums,) = await rows_of(shop.dsn, "SELECT sum(balance) AS total FROM accounts")
    assert sums["total"] == len(shop.accounts) * BALANCE
    verify, dead = await asyncio.gather(
        asyncio.to_thread(run_command, "ledger", "verify", APP_DATABASE_URL=shop.dsn),
        asyncio.to_thread(run_command, "dead", "list", APP_NATS_URL=shop.nats_url),
    )
    assert verify.returncode == 0, verify.stdout + verify.stderr
    assert dead.returncode == 0, dead.stderr
    assert dead.stdout == ""
    return (
        f"{count} orders accepted, {len(paid)} paid, {len(refused)} refused, none left;"
        f" {shop.sent_again} requests sent again"
    )


def load_of(
    shop: Shop, group: asyncio.TaskGroup, clients: int, numbers: Iterator[int]
) -> Sequence[asyncio.Task[None]]:
    """So many clients that order until the numbers are used up."""
    draws = (random.Random(number) for number in range(clients))  # noqa: S311 - a load, not a secret
    return [group.create_task(shop.order(numbers, draw)) for draw in draws]
