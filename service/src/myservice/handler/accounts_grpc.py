"""Accounts and transfers over gRPC: translate, call the service, translate back.

The rules of ``handler.accounts``: a token's subject owns what it opens, ``accounts:operate`` makes
an operator, and an idempotency key makes a transfer safe to send again, over HTTP and gRPC alike.
Wired in ``main``; values are in ``grpc_values``.
"""

from typing import Final

from myservice.domain.accounts import TransferDraft
from myservice.handler.accounts_http import OPERATE, READ, TRANSFER, IdempotencyKey
from myservice.handler.grpc_values import TransferFields, checked, seconds, text_of, uuid_of
from myservice.proto.v1 import accounts_pb2 as pb
from myservice.service.accounts import AccountService, Actor
from paceline.grpc import Call, RpcApp, unary

SERVICE: Final = "myservice.v1.AccountService"


class AccountRpc:
    """The account methods."""

    def __init__(self, service: AccountService) -> None:
        self._service = service

    def register(self, app: RpcApp) -> None:
        """Add the methods."""
        app.add(
            SERVICE,
            {
                "GetAccount": unary(self.get_account, scopes=[READ]),
                "Transfer": unary(self.transfer, scopes=[TRANSFER]),
            },
        )

    async def get_account(self, request: pb.GetAccountRequest, call: Call) -> pb.GetAccountResponse:
        """Get one account of one's own; any account, as an operator."""
        account = await self._service.get_account(uuid_of(request.id, "id"), _actor(call))
        return pb.GetAccountResponse(
            account=pb.Account(
                id=str(account.id), owner=account.owner, balance=account.balance,
                created_at=seconds(account.created_at),
            )
        )  # fmt: skip

    async def transfer(self, request: pb.TransferRequest, call: Call) -> pb.TransferResponse:
        """Move an amount to another account."""
        given = {"amount": request.amount, "reference": request.reference}
        fields = checked(given, TransferFields)
        draft = TransferDraft(
            uuid_of(request.from_id, "from_id"), uuid_of(request.to_id, "to_id"),
            fields.amount, fields.reference,
        )  # fmt: skip
        text = request.idempotency_key
        key = text_of(text, IdempotencyKey, "idempotency_key") if text else None
        made = await self._service.transfer(draft, _actor(call), key)
        return pb.TransferResponse(
            id=str(made.id), from_id=str(draft.from_id), to_id=str(made.to_id), amount=made.amount,
            reference=made.reference, from_balance=made.from_balance or 0,
            to_balance=made.to_balance, created_at=seconds(made.created_at),
        )  # fmt: skip


def _actor(call: Call) -> Actor:
    return Actor(call.caller.subject, OPERATE in call.caller.scopes)
