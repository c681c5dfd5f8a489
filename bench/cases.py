"""What is measured: each case's requests, drawn once and sent by everybody alike.

Invariant: the same seed gives the same requests, so each server and each round gets the same load.
A plan holds 20,000 requests, which are sent in turn and again from the start, with 1,000 tokens in
turn: no server sees the same one all the time. `World` has the ids that ``database`` put in.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from load import Plan

from paceline.testing import make_token

DRAWN = 20_000
TOKENS = 1_000
HOT_ACCOUNTS = 10
ZIPF_EXPONENT = 1.1
MAIN_CONNECTIONS = 64
ALL_CONNECTIONS = (1, 16, 64, 256)
_SEED = 3


@dataclass(frozen=True)
class World:
    """The ids of what is in the database, in the order in which it was put in."""

    records: Sequence[str]
    accounts: Sequence[str]


@dataclass(frozen=True)
class Case:
    """A kind of request. ``table``: where its rows go, None when it only reads."""

    name: str
    title: str
    connections: tuple[int, ...] = (MAIN_CONNECTIONS,)
    table: str | None = None

    @property
    def status(self) -> int:
        """The expected one."""
        return 201 if self.table else 200


CASES = (
    Case("get-uniform", "GET a record by id, any of 100,000", ALL_CONNECTIONS),
    Case("get-zipf", "GET a record by id, Zipf 1.1 over 100,000"),
    Case("list", "GET a page of 20 records"),
    Case("post", "POST a record", ALL_CONNECTIONS, table="records"),
    Case("transfer-uniform", "Transfer between 10,000 accounts", ALL_CONNECTIONS, "transfers"),
    Case("transfer-hot", f"Transfer between {HOT_ACCOUNTS} hot accounts", table="transfers"),
)  # fmt: skip


def new_tokens(subject: str, *scopes: str, secret: str) -> list[str]:
    """Different tokens of one caller, as many as are sent; they outlast a bench."""
    return [
        make_token(subject, *scopes, secret=secret, expiry=7200 + number)
        for number in range(TOKENS)
    ]


def new_plan(
    case: Case,
    world: World,
    *,
    port: int,
    tokens: Sequence[str],
    connections: int,
    seconds: float,
    drawn: int = DRAWN,
) -> Plan:
    """The load of a case on one server."""
    draw = random.Random(_SEED)  # noqa: S311 - a load, not a secret
    targets, bodies = ["/api/v1/transfers"], list[str]()
    match case.name:
        case "get-uniform":
            targets = _paths(draw.choices(world.records, k=drawn))
        case "get-zipf":
            targets = _paths(zipf(draw, world.records, drawn))
        case "list":
            targets = ["/api/v1/records?limit=20"]
        case "post":
            targets, bodies = ["/api/v1/records"], [_record(draw, n) for n in range(drawn)]
        case "transfer-uniform":
            bodies = [_transfer(draw, world.accounts) for _ in range(drawn)]
        case _:
            hot = world.accounts[:HOT_ACCOUNTS]
            bodies = [_transfer(draw, hot) for _ in range(drawn)]
    return Plan(
        port=port,
        targets=targets,
        connections=connections,
        seconds=seconds,
        method="POST" if bodies else "GET",
        bodies=bodies,
        tokens=tokens,
        status=case.status,
    )


def zipf(draw: random.Random, ids: Sequence[str], count: int) -> list[str]:
    """``count`` ids, the most popular one anywhere among them, the n-th 1/n^1.1 as popular."""
    shuffled = list(ids)
    draw.shuffle(shuffled)
    weights = accumulate((rank + 1) ** -ZIPF_EXPONENT for rank in range(len(shuffled)))
    return draw.choices(shuffled, cum_weights=list(weights), k=count)


def _paths(ids: Sequence[str]) -> list[str]:
    return [f"/api/v1/records/{record_id}" for record_id in ids]


def _record(draw: random.Random, number: int) -> str:
    return json.dumps(
        {
            "name": f"order {number} of the spring collection",
            "metadata": {
                "colour": draw.choice(["blue", "green", "red"]),
                "region": draw.choice(["north", "south"]),
                "source": "https://shop.example/imports/2026-05",
            },
            "data": {"quantity": draw.randint(1, 99), "price": 1999, "tags": ["new", "gift"]},
        }
    )


def _transfer(draw: random.Random, accounts: Sequence[str]) -> str:
    one, other = draw.sample(accounts, 2)
    amount = draw.randint(1, 100)
    return json.dumps({"from": one, "to": other, "amount": amount, "reference": "a benchmark"})
