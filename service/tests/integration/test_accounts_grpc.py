"""Accounts and transfers over gRPC: owners, refusals, keys."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from uuid import UUID

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc import aio
from grpc_clients import GrpcService, bearer_metadata, error_details, running_grpc_service

from myservice.proto.v1 import accounts_pb2 as pb
from paceline.http import TestClient

pytestmark = pytest.mark.integration

SCOPES = ("accounts:read", "accounts:write", "transfers:write")
ADA, BOB = bearer_metadata("ada", *SCOPES), bearer_metadata("bob", *SCOPES)
OPERATOR = bearer_metadata("root", *SCOPES, "accounts:operate")
MISSING = "0192f0a0-0000-7000-8000-00000000dead"


@pytest.fixture
async def world(migrated: str) -> AsyncGenerator[GrpcService]:
    async with running_grpc_service(migrated) as found:
        yield found


async def opened(world: GrpcService, caller: tuple[tuple[str, str], ...], balance: int = 0) -> str:
    """An account, opened and credited over HTTP: gRPC has no method for that."""
    http = TestClient(world.process.app, headers=dict(caller))
    account: str = (await http.post("/api/v1/accounts", {})).json()["id"]
    if balance:
        operator = TestClient(world.process.app, headers=dict(OPERATOR))
        credit = await operator.post(f"/api/v1/accounts/{account}/credits", {"amount": balance})
        assert credit.status == 201
    return account


async def test_an_account_is_read_by_its_owner_and_by_operators_only(world: GrpcService) -> None:
    account = await opened(world, ADA, 100)
    for caller in (ADA, OPERATOR):
        found = await world.accounts.GetAccount(pb.GetAccountRequest(id=account), metadata=caller)
        assert (found.account.id, found.account.owner, found.account.balance) == (
            account,
            "ada",
            100,
        )
        assert found.account.created_at > 1_700_000_000
    with pytest.raises(aio.AioRpcError) as caught:
        await world.accounts.GetAccount(pb.GetAccountRequest(id=account), metadata=BOB)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert error_details(caught.value) == [ErrorInfo(reason="NOT_THE_OWNER", domain="myservice")]


async def test_a_transfer_with_a_key_takes_effect_once_over_http_and_grpc(
    world: GrpcService,
) -> None:
    source, target = await opened(world, ADA, 100), await opened(world, BOB)
    request = pb.TransferRequest(
        from_id=source, to_id=target, amount=30, reference="rent", idempotency_key="k-1"
    )
    first = await world.accounts.Transfer(request, metadata=ADA)
    again = await world.accounts.Transfer(request, metadata=ADA)
    assert first == again
    assert (first.from_balance, first.to_balance, first.from_id) == (70, 0, source)
    assert UUID(first.id).version == 7
    http = TestClient(world.process.app, headers={**dict(ADA), "idempotency-key": "k-1"})
    body = {"from": source, "to": target, "amount": 30, "reference": "rent"}
    assert (await http.post("/api/v1/transfers", body)).json()["id"] == first.id
    found = await world.accounts.GetAccount(pb.GetAccountRequest(id=source), metadata=ADA)
    assert found.account.balance == 70
    as_operator = pb.TransferRequest(from_id=source, to_id=target, amount=5)
    assert (await world.accounts.Transfer(as_operator, metadata=OPERATOR)).to_balance == 35


@dataclass(frozen=True)
class Refused:
    id: str
    code: grpc.StatusCode
    reason: str = "VALIDATION"
    field: str = ""
    amount: int = 1
    reference: str = ""
    key: str = ""
    to: str = "target"
    caller: tuple[tuple[str, str], ...] = ADA


INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("case", [
    Refused("no amount", INVALID, field="amount", amount=0),
    Refused("a negative amount", INVALID, field="amount", amount=-5),
    Refused("beyond 2^53 - 1", INVALID, field="amount", amount=2**53),
    Refused("a long reference", INVALID, field="reference", reference="x" * 201),
    Refused("a key with blanks", INVALID, field="idempotency_key", key="a b"),
    Refused("a key too long", INVALID, field="idempotency_key", key="k" * 256),
    Refused("no id", INVALID, field="to_id", to=""),
    Refused("to itself", INVALID, field="to", to="source"),
    Refused("more than there is", grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_BALANCE", amount=11),
    Refused("to no account", grpc.StatusCode.NOT_FOUND, "ACCOUNT_NOT_FOUND", to=MISSING),
    Refused("from another owner's", grpc.StatusCode.PERMISSION_DENIED, "NOT_THE_OWNER", caller=BOB),
    Refused("without the scope", grpc.StatusCode.PERMISSION_DENIED, "", caller=bearer_metadata("ada", "accounts:read")),
], ids=lambda case: case.id)  # fmt: skip
async def test_what_is_wrong_moves_nothing(case: Refused, world: GrpcService) -> None:
    ids = {"source": await opened(world, ADA, 10), "target": await opened(world, BOB)}
    request = pb.TransferRequest(
        from_id=ids["source"], to_id=ids.get(case.to, case.to), amount=case.amount,
        reference=case.reference, idempotency_key=case.key,
    )  # fmt: skip
    with pytest.raises(aio.AioRpcError) as caught:
        await world.accounts.Transfer(request, metadata=case.caller)
    assert caught.value.code() is case.code
    details = error_details(caught.value)
    fields = [d.field_violations[0].field for d in details if isinstance(d, BadRequest)]
    assert fields == ([case.field] if case.field else [])
    assert [d.reason for d in details if isinstance(d, ErrorInfo)] == (
        [case.reason] if case.reason else []
    )
    found = await world.accounts.GetAccount(pb.GetAccountRequest(id=ids["source"]), metadata=ADA)
    assert found.account.balance == 10
