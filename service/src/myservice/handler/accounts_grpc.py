"""Accounts and transfers over gRPC, by the rules of HTTP: the same scopes, owners and keys."""

from typing import Final

import msgspec

from myservice.domain.accounts import Amount, Reference, TransferDraft
from myservice.proto.v1 import accounts_pb2 as pb
from myservice.scopes import ACCOUNTS_OPERATE, ACCOUNTS_READ, TRANSFERS_WRITE
from myservice.service.accounts import AccountService, Actor
from paceline.grpc import (
    Call,
    RpcApp,
    convert_field,
    convert_text,
    convert_uuid,
    unary,
    unix_seconds,
)
from paceline.idempotency import IdempotencyKeyText

SERVICE: Final = "myservice.v1.AccountService"


class TransferFields(msgspec.Struct, frozen=True):
    """The rules for the fields of a transfer other than its accounts."""

    amount: Amount
    reference: Reference


class AccountRpc:
    """The methods of the AccountService."""

    def __init__(self, service: AccountService) -> None:
        self._service = service

    def register(self, app: RpcApp) -> None:
        """Add the methods."""
        app.add(
            SERVICE,
            {
                "GetAccount": unary(self.get_account, scopes=[ACCOUNTS_READ]),
                "Transfer": unary(self.transfer, scopes=[TRANSFERS_WRITE]),
            },
        )

    async def get_account(self, request: pb.GetAccountRequest, call: Call) -> pb.GetAccountResponse:
        """Get one account of one's own; any account, as an operator."""
        account_id = convert_uuid(request.id, "id")
        account = await self._service.get_account(account_id, _actor(call))
        return pb.GetAccountResponse(
            account=pb.Account(
                id=str(account.id), owner=account.owner, balance=account.balance,
                created_at=unix_seconds(account.created_at),
            )
        )  # fmt: skip

    async def transfer(self, request: pb.TransferRequest, call: Call) -> pb.TransferResponse:
        """Move an amount to another account."""
        values = {"amount": request.amount, "reference": request.reference}
        fields = convert_field(values, TransferFields)
        draft = TransferDraft(
            convert_uuid(request.from_id, "from_id"), convert_uuid(request.to_id, "to_id"),
            fields.amount, fields.reference,
        )  # fmt: skip
        text = request.idempotency_key
        key = convert_text(text, IdempotencyKeyText, "idempotency_key") if text else None
        made = await self._service.transfer(draft, _actor(call), key)
        return pb.TransferResponse(
            id=str(made.id), from_id=str(draft.from_id), to_id=str(made.to_id), amount=made.amount,
            reference=made.reference, from_balance=made.from_balance or 0,
            to_balance=made.to_balance or 0, created_at=unix_seconds(made.created_at),
        )  # fmt: skip


def _actor(call: Call) -> Actor:
    return Actor(call.caller.subject, ACCOUNTS_OPERATE in call.caller.scopes)
