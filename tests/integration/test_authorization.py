"""Who may do what: one table for both doors, asked of the running service, and complete.

A row is an operation, with the route and the method that do it, and whom it is open to. Each is
asked by everybody of `PRINCIPALS` at each door, on things of ada's; `docs/access.md` shows the
table. A route or method without a row fails, as does a row without one.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from google.protobuf.message import Message
from grpc import aio
from grpc_clients import GrpcService, running_grpc_service

from myservice.proto.v1 import accounts_pb2, records_pb2
from myservice.scopes import ACCOUNTS_OPERATE, SCOPES
from paceline.http import TestClient
from paceline.testing import ManualClock, make_token

pytestmark = pytest.mark.integration

DOCS: Final = Path(__file__).parents[2] / "docs" / "access.md"
PUBLIC: Final = {"GET /health", "GET /ready"}
EVERYBODY: Final = frozenset({"another", "the owner", "an operator"})
OWN: Final = frozenset({"the owner", "an operator"})
OPERATORS: Final = frozenset({"an operator"})
ORDINARY: Final = [scope for scope in SCOPES if scope != ACCOUNTS_OPERATE]
LONG_AGO: Final = 1_600_000_000.0


@dataclass(frozen=True)
class Principal:
    """Who asks. ``refused``: at every operation, with these answers of HTTP and gRPC."""

    name: str
    token: str | None
    refused: tuple[int, str] | None = None


UNKNOWN: Final = (401, "UNAUTHENTICATED")
FORBIDDEN: Final = (403, "PERMISSION_DENIED")
PRINCIPALS: Final = [
    Principal("nobody", None, UNKNOWN),
    Principal(
        "a forger", make_token("ada", *SCOPES, secret="f" * 16 + "0123456789abcdef"), UNKNOWN
    ),
    Principal("an expired token", make_token("ada", *SCOPES, clock=ManualClock(LONG_AGO)), UNKNOWN),
    Principal("a token without scopes", make_token("ada"), FORBIDDEN),
    Principal("another", make_token("bob", *ORDINARY)),
    Principal("the owner", make_token("ada", *ORDINARY)),
    Principal("an operator", make_token("root", *SCOPES)),
]


@dataclass(frozen=True)
class Things:
    """What belongs to ada: a record, an account with money, an order; and an account of bob's."""

    record: str
    account: str
    order: str
    payee: str


@dataclass(frozen=True)
class Operation:
    """``path`` and ``body``: of the HTTP request; ``rpc``: the method, without package; ``call``."""

    name: str
    http: str
    allowed: frozenset[str]
    path: Callable[[Things], str]
    body: Callable[[Things], Mapping[str, object]] | None = None
    rpc: str = ""
    call: Callable[[Things], Message] | None = None


def payment(things: Things) -> Mapping[str, object]:
    return {"from": things.account, "to": things.payee, "amount": 1}


DRAFT: Final = records_pb2.RecordDraft(name="n")
OPERATIONS: Final = [
    Operation(
        "list records", "GET /api/v1/records", EVERYBODY, lambda _: "/api/v1/records",
        rpc="RecordService/ListRecords", call=lambda _: records_pb2.ListRecordsRequest(),
    ),
    Operation(
        "create a record", "POST /api/v1/records", EVERYBODY, lambda _: "/api/v1/records",
        lambda _: {"name": "n"},
        "RecordService/CreateRecord", lambda _: records_pb2.CreateRecordRequest(record=DRAFT),
    ),
    Operation(
        "read a record", "GET /api/v1/records/{id}", EVERYBODY,
        lambda things: f"/api/v1/records/{things.record}",
        rpc="RecordService/GetRecord",
        call=lambda things: records_pb2.GetRecordRequest(id=things.record),
    ),
    Operation(
        "replace a record", "PUT /api/v1/records/{id}", EVERYBODY,
        lambda things: f"/api/v1/records/{things.record}", lambda _: {"name": "n"},
        "RecordService/UpdateRecord",
        lambda things: records_pb2.UpdateRecordRequest(id=things.record, record=DRAFT),
    ),
    Operation(
        "delete a record", "DELETE /api/v1/records/{id}", EVERYBODY,
        lambda things: f"/api/v1/records/{things.record}",
        rpc="RecordService/DeleteRecord",
        call=lambda things: records_pb2.DeleteRecordRequest(id=things.record),
    ),
    Operation(
        "follow records", "GET /api/v1/records/updates", EVERYBODY,
        lambda _: "/api/v1/records/updates",
        rpc="RecordService/StreamUpdates", call=lambda _: records_pb2.StreamRequest(),
    ),
    Operation(
        "open an account of one's own", "POST /api/v1/accounts", EVERYBODY,
        lambda _: "/api/v1/accounts", lambda _: {},
    ),
    Operation(
        "open an account for ada", "POST /api/v1/accounts", OWN,
        lambda _: "/api/v1/accounts", lambda _: {"owner": "ada"},
    ),
    Operation(
        "read ada's account", "GET /api/v1/accounts/{id}", OWN,
        lambda things: f"/api/v1/accounts/{things.account}",
        rpc="AccountService/GetAccount",
        call=lambda things: accounts_pb2.GetAccountRequest(id=things.account),
    ),
    Operation(
        "credit ada's account", "POST /api/v1/accounts/{id}/credits", OPERATORS,
        lambda things: f"/api/v1/accounts/{things.account}/credits", lambda _: {"amount": 1},
    ),
    Operation(
        "pay from ada's account", "POST /api/v1/transfers", OWN,
        lambda _: "/api/v1/transfers", payment,
        "AccountService/Transfer",
        lambda things: accounts_pb2.TransferRequest(
            from_id=things.account, to_id=things.payee, amount=1
        ),
    ),
    Operation(
        "order a payment from ada's account", "POST /api/v1/orders", OWN,
        lambda _: "/api/v1/orders", payment,
    ),
    Operation(
        "read ada's order", "GET /api/v1/orders/{id}", OWN,
        lambda things: f"/api/v1/orders/{things.order}",
    ),
]  # fmt: skip
METHODS: Final = [operation for operation in OPERATIONS if operation.call is not None]
everybody = pytest.mark.parametrize("principal", PRINCIPALS, ids=lambda each: each.name)


@pytest.fixture
async def world(migrated: str) -> AsyncGenerator[GrpcService]:
    # Every test here is from one address, and half of them fail to authenticate.
    async with running_grpc_service(migrated, auth_failure_limit=0) as found:
        yield found


async def things_of_ada(world: GrpcService) -> Things:
    ada, bob, root = (
        TestClient(world.process.app, headers={"authorization": f"Bearer {each.token}"})
        for each in (PRINCIPALS[5], PRINCIPALS[4], PRINCIPALS[6])
    )

    async def made(client: TestClient, path: str, body: Mapping[str, object]) -> str:
        answer = await client.post(f"/api/v1/{path}", body)
        assert answer.status in {201, 202}, answer.body
        found: dict[str, Any] = answer.json()
        return str(found["id"])

    account, payee = await made(ada, "accounts", {}), await made(bob, "accounts", {})
    await made(root, f"accounts/{account}/credits", {"amount": 100})
    return Things(
        record=await made(ada, "records", {"name": "n"}),
        account=account,
        order=await made(ada, "orders", {"from": account, "to": payee, "amount": 1}),
        payee=payee,
    )


def expected(principal: Principal, operation: Operation) -> tuple[int, str] | None:
    """The refusals of HTTP and gRPC; None where it is allowed."""
    if principal.refused is not None:
        return principal.refused
    return None if principal.name in operation.allowed else FORBIDDEN


@everybody
async def test_over_http_each_is_answered_as_the_table_says(
    principal: Principal, world: GrpcService
) -> None:
    headers = {} if principal.token is None else {"authorization": f"Bearer {principal.token}"}
    client = TestClient(world.process.app, headers=headers)
    wrong: list[str] = []
    for operation in OPERATIONS:
        things = await things_of_ada(world)
        method = operation.http.partition(" ")[0]
        if operation.name == "follow records":
            method = "HEAD"  # a stream has no end
        body = None if operation.body is None else operation.body(things)
        answer = await client.request(method, operation.path(things), json=body)
        refusal = expected(principal, operation)
        right = answer.status < 300 if refusal is None else answer.status == refusal[0]
        if not right:
            wrong.append(f"{operation.name}: {answer.status}")
    assert not wrong


@everybody
async def test_over_grpc_each_is_answered_as_the_table_says(
    principal: Principal, world: GrpcService
) -> None:
    metadata = () if principal.token is None else (("authorization", f"Bearer {principal.token}"),)
    wrong: list[str] = []
    for operation in METHODS:
        assert operation.call is not None
        request = operation.call(await things_of_ada(world))
        code = await code_of(world, operation, request, metadata)
        refusal = expected(principal, operation)
        if code != ("OK" if refusal is None else refusal[1]):
            wrong.append(f"{operation.name}: {code}")
    assert not wrong


async def code_of(
    world: GrpcService,
    operation: Operation,
    request: Message,
    metadata: tuple[tuple[str, str], ...],
) -> str:
    path, encode = f"/myservice.v1.{operation.rpc}", type(request).SerializeToString
    try:
        if operation.name == "follow records":
            stream = world.channel.unary_stream(path, encode, bytes)(request, metadata=metadata)
            told = asyncio.ensure_future(stream.read())
            while not told.done():  # a change that comes after the subscription
                await things_of_ada(world)
                await asyncio.wait([told], timeout=0.2)
            await told
            stream.cancel()
        else:
            await world.channel.unary_unary(path, encode, bytes)(request, metadata=metadata)
    except aio.AioRpcError as exc:
        return exc.code().name
    return "OK"


async def test_every_route_and_method_has_its_row(world: GrpcService) -> None:
    rows = {operation.http for operation in OPERATIONS} | {
        f"gRPC /myservice.v1.{operation.rpc}" for operation in METHODS
    }
    assert rows | PUBLIC == set(world.process.needed_scopes)
    unguarded = {each for each, scopes in world.process.needed_scopes.items() if not scopes}
    assert unguarded == PUBLIC


def test_the_docs_show_the_table() -> None:
    assert table() in DOCS.read_text()


def table() -> str:
    heads = ["operation", "HTTP", "gRPC", *(each.name for each in PRINCIPALS)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for operation in OPERATIONS:
        answers = [
            "yes" if (refusal := expected(each, operation)) is None else str(refusal[0])
            for each in PRINCIPALS
        ]
        rpc = f"`{operation.rpc}`" if operation.rpc else "–"
        cells = [operation.name, f"`{operation.http}`", rpc, *answers]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
