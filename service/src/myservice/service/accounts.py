"""The account service: open, read and credit accounts, move money between them.

The `Actor`, an explicit argument, decides what is allowed: an owner uses their own accounts, an
operator all. For a transfer the ledger checks the owner while it holds the account's lock, so owner
and balance are checked at the same moment. An idempotency key belongs to its subject and to one
request, identified by a digest of the decoded request.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from myservice.domain.accounts import (
    Account,
    AccountDraft,
    CreditDraft,
    NotTheOwner,
    TransferDraft,
    check_owner,
    check_transfer,
)
from myservice.domain.ledger import Entry, Transfer
from paceline.clock import Clock
from paceline.errors import wrap
from paceline.idempotency import IdempotencyKey


class AccountRepository(Protocol):
    """Stores accounts."""

    async def insert(self, account: Account, key: IdempotencyKey | None = None) -> Account:
        """Add an account; the same key gives the same account. Errors: KeyReused, KeyInFlight."""
        ...

    async def get(self, account_id: UUID) -> Account:
        """One account. Errors: AccountNotFound."""
        ...


class Ledger(Protocol):
    """Moves money: each entry takes effect whole or not at all, and once for each key."""

    async def enter(self, entry: Entry) -> Transfer:
        """Apply the entry.

        Errors: AccountNotFound, NotTheOwner, InsufficientBalance, BalanceOverflow; KeyReused,
        KeyInFlight.
        """
        ...


@dataclass(frozen=True, slots=True)
class Actor:
    """The subject that a request acts for, and whether it may use the accounts of others."""

    subject: str
    operator: bool = False

    def may_see(self, account: Account) -> bool:
        """Whether it owns the account or is an operator."""
        return self.operator or account.owner == self.subject


class AccountService:
    """The use cases. ``new_id`` gives a fresh UUIDv7."""

    def __init__(
        self,
        accounts: AccountRepository,
        ledger: Ledger,
        clock: Clock,
        new_id: Callable[[], UUID],
    ) -> None:
        self._accounts = accounts
        self._ledger = ledger
        self._clock = clock
        self._new_id = new_id

    async def open_account(
        self, draft: AccountDraft, actor: Actor, key: str | None = None
    ) -> Account:
        """Open an empty account. Errors: NotTheOwner, ValidationError, KeyReused, KeyInFlight."""
        with wrap("service.open_account"):
            owner = check_owner(actor.subject if draft.owner is None else draft.owner)
            if owner != actor.subject and not actor.operator:
                raise NotTheOwner("only an operator opens accounts for others")
            return await self._accounts.insert(
                Account(self._new_id(), owner, 0, self._now()),
                IdempotencyKey.of(actor.subject, key, ("account", draft)),
            )

    async def get_account(self, account_id: UUID, actor: Actor) -> Account:
        """Errors: AccountNotFound, NotTheOwner."""
        with wrap("service.get_account({})", account_id):
            account = await self._accounts.get(account_id)
            if not actor.may_see(account):
                raise NotTheOwner
            return account

    async def credit(
        self, account_id: UUID, draft: CreditDraft, actor: Actor, key: str | None
    ) -> Transfer:
        """Credit an account from outside. The edge has checked that the actor is an operator.

        Errors: AccountNotFound, BalanceOverflow, KeyReused, KeyInFlight.
        """
        with wrap("service.credit({})", account_id):
            return await self._ledger.enter(
                Entry(
                    self._new_id(), None, account_id, draft.amount, draft.reference, self._now(),
                    key=IdempotencyKey.of(actor.subject, key, ("credit", account_id, draft)),
                )
            )  # fmt: skip

    async def transfer(self, draft: TransferDraft, actor: Actor, key: str | None) -> Transfer:
        """Move money between two accounts; the receiver's balance is for who may see that account.

        Errors: ValidationError, AccountNotFound, NotTheOwner, InsufficientBalance,
        BalanceOverflow, KeyReused, KeyInFlight.
        """
        with wrap("service.transfer({} to {})", draft.from_id, draft.to_id):
            check_transfer(draft)
            return await self._ledger.enter(
                Entry(
                    self._new_id(), draft.from_id, draft.to_id, draft.amount, draft.reference,
                    self._now(), debtor=None if actor.operator else actor.subject,
                    key=IdempotencyKey.of(actor.subject, key, ("transfer", draft)),
                )
            )  # fmt: skip

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)
