"""Accounts and transfers over HTTP: translate, call the service, translate back.

A token's subject owns what it opens; the scope ``accounts:operate`` makes an operator, who opens
and credits for everybody. ``Idempotency-Key`` (draft-ietf-httpapi-idempotency-key-header) makes a
transfer or a credit safe to send again: the first answer comes again. Wired in ``main``; next in
the path of a request is ``service.accounts``.
"""

from typing import Annotated, Final
from uuid import UUID

import msgspec

from myservice.domain.accounts import (
    Account,
    AccountDraft,
    AccountNotFound,
    CreditDraft,
    NotTheOwner,
    TransferDraft,
)
from myservice.domain.ledger import (
    BalanceOverflow,
    InsufficientBalance,
    KeyInFlight,
    KeyReused,
    Transfer,
)
from myservice.service.accounts import AccountService, Actor
from paceline.auth import Principal
from paceline.errors import Error
from paceline.http import Body, Header, Path, Provided, Reply, RouteGroup

READ: Final = "accounts:read"
WRITE: Final = "accounts:write"
OPERATE: Final = "accounts:operate"
TRANSFER: Final = "transfers:write"

# What this service's own errors are in HTTP, beside the kit's table.
STATUSES: Final[dict[type[Error], int]] = {KeyReused: 422}

IdempotencyKey = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[\x21-\x7e]{1,255}$",
        description="any text of your own; the same request with it takes effect once",
    ),
]


class AccountHandler:
    """The account operations."""

    def __init__(self, service: AccountService) -> None:
        self._service = service

    def register(self, api: RouteGroup) -> None:
        """Add the routes."""
        unknown = [AccountNotFound, NotTheOwner]
        key = [KeyReused, KeyInFlight]
        api.post("/accounts", self.open_account, status=201, scopes=[WRITE], errors=[NotTheOwner])
        api.get("/accounts/{id}", self.get_account, scopes=[READ], errors=unknown)
        api.post(
            "/accounts/{id}/credits", self.credit, status=201, scopes=[OPERATE],
            errors=[AccountNotFound, BalanceOverflow, *key],
        )  # fmt: skip
        api.post(
            "/transfers", self.transfer, status=201, scopes=[TRANSFER],
            errors=[*unknown, InsufficientBalance, BalanceOverflow, *key],
        )  # fmt: skip

    async def open_account(
        self, body: Body[AccountDraft], who: Provided[Principal]
    ) -> Reply[Account]:
        """Open an empty account, for oneself or, as an operator, for another `owner`."""
        account = await self._service.open_account(body, actor_of(who))
        location = (b"location", b"/api/v1/accounts/%s" % str(account.id).encode())
        return Reply(account, [location])

    async def get_account(
        self,
        id: Path[UUID],  # noqa: A002 - the path's name
        who: Provided[Principal],
    ) -> Account:
        """Get one account of one's own; any account, as an operator."""
        return await self._service.get_account(id, actor_of(who))

    async def credit(
        self,
        id: Path[UUID],  # noqa: A002 - the path's name
        idempotency_key: Header[IdempotencyKey | None],
        body: Body[CreditDraft],
        who: Provided[Principal],
    ) -> Transfer:
        """Give an account an amount from outside, as an operator."""
        return await self._service.credit(id, body, actor_of(who), idempotency_key)

    async def transfer(
        self,
        idempotency_key: Header[IdempotencyKey | None],
        body: Body[TransferDraft],
        who: Provided[Principal],
    ) -> Transfer:
        """Move an amount to another account.

        All of it is moved or nothing. With an `Idempotency-Key` the request may be sent again
        until it is answered: it takes effect once, and the answer is the first one.
        """
        return await self._service.transfer(body, actor_of(who), idempotency_key)


def actor_of(who: Principal) -> Actor:
    """On whose behalf a request is."""
    return Actor(who.subject, OPERATE in who.scopes)
