"""Accounts and transfers over HTTP.

The subject of the token owns the accounts that it opens; the scope ``accounts:operate`` makes it an
operator, who may open and credit accounts for others. ``Idempotency-Key``
(draft-ietf-httpapi-idempotency-key-header) makes every POST safe to send again: the answer is the
first one.
"""

from uuid import UUID

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
    Transfer,
)
from myservice.scopes import (
    ACCOUNTS_OPERATE,
    ACCOUNTS_READ,
    ACCOUNTS_WRITE,
    TRANSFERS_WRITE,
)
from myservice.service.accounts import AccountService, Actor
from paceline.auth import Principal
from paceline.http import Body, Header, Path, Provided, Reply, RouteGroup
from paceline.idempotency import IdempotencyKeyText, KeyInFlight, KeyReused


class AccountHandler:
    """The account operations."""

    def __init__(self, service: AccountService) -> None:
        self._service = service

    def register(self, api: RouteGroup) -> None:
        """Add the routes."""
        account_errors = [AccountNotFound, NotTheOwner]
        key_errors = [KeyReused, KeyInFlight]
        api.post(
            "/accounts",
            self.open_account,
            status=201,
            scopes=[ACCOUNTS_WRITE],
            errors=[NotTheOwner, *key_errors],
        )
        api.get("/accounts/{id}", self.get_account, scopes=[ACCOUNTS_READ], errors=account_errors)
        api.post(
            "/accounts/{id}/credits", self.credit, status=201, scopes=[ACCOUNTS_OPERATE],
            errors=[AccountNotFound, BalanceOverflow, *key_errors],
        )  # fmt: skip
        api.post(
            "/transfers", self.transfer, status=201, scopes=[TRANSFERS_WRITE],
            errors=[*account_errors, InsufficientBalance, BalanceOverflow, *key_errors],
        )  # fmt: skip

    async def open_account(
        self,
        idempotency_key: Header[IdempotencyKeyText | None],
        body: Body[AccountDraft],
        principal: Provided[Principal],
    ) -> Reply[Account]:
        """Open an empty account, for oneself or, as an operator, for another `owner`.

        With an `Idempotency-Key` the request may be sent again until it is answered: it opens one
        account, and the answer is the first one.
        """
        account = await self._service.open_account(body, actor_of(principal), idempotency_key)
        location = (b"location", b"/api/v1/accounts/%s" % str(account.id).encode())
        return Reply(account, [location])

    async def get_account(
        self,
        id: Path[UUID],  # noqa: A002 - the path's name
        principal: Provided[Principal],
    ) -> Account:
        """Get one account of one's own; any account, as an operator."""
        return await self._service.get_account(id, actor_of(principal))

    async def credit(
        self,
        id: Path[UUID],  # noqa: A002 - the path's name
        idempotency_key: Header[IdempotencyKeyText | None],
        body: Body[CreditDraft],
        principal: Provided[Principal],
    ) -> Transfer:
        """Give an account an amount from outside, as an operator."""
        return await self._service.credit(id, body, actor_of(principal), idempotency_key)

    async def transfer(
        self,
        idempotency_key: Header[IdempotencyKeyText | None],
        body: Body[TransferDraft],
        principal: Provided[Principal],
    ) -> Transfer:
        """Move an amount to another account.

        All of it is moved or nothing. With an `Idempotency-Key` the request may be sent again
        until it is answered: it takes effect once, and the answer is the first one. `to_balance` is
        null unless the caller may read that account.
        """
        return await self._service.transfer(body, actor_of(principal), idempotency_key)


def actor_of(principal: Principal) -> Actor:
    """The actor of a request."""
    return Actor(principal.subject, ACCOUNTS_OPERATE in principal.scopes)
