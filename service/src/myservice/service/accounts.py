"""The account service: open, look at and credit accounts, move money between them.

Who may do what is decided by the `Actor`, an explicit argument: an owner works on his own accounts,
an operator on all. Whether an account is the caller's is told by the ledger, which holds its lock,
so ownership and balance are judged at the same moment. An idempotency key belongs to its subject
and to one request, told by a digest of what was decoded. Called by ``handler.accounts``;
``repository.accounts`` and ``repository.ledger`` implement the Protocols.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

import msgspec

from myservice.domain.accounts import (
    Account,
    AccountDraft,
    CreditDraft,
    NotTheOwner,
    TransferDraft,
    check_owner,
    check_transfer,
)
from myservice.domain.ledger import Entry, Key, Transfer
from paceline.clock import Clock
from paceline.errors import wrap


class AccountRepository(Protocol):
    """Where accounts are kept."""

    async def insert(self, account: Account) -> Account:
        """Add an account."""
        ...

    async def get(self, account_id: UUID) -> Account:
        """One account. Errors: AccountNotFound."""
        ...


class Ledger(Protocol):
    """Where money moves: each entry takes effect whole or not at all, and once for each key."""

    async def enter(self, entry: Entry) -> Transfer:
        """Make the entry.

        Errors: AccountNotFound, NotTheOwner, InsufficientBalance, BalanceOverflow; KeyReused,
        KeyInFlight.
        """
        ...


@dataclass(frozen=True, slots=True)
class Actor:
    """On whose behalf: a subject, and whether it may work on everybody's accounts."""

    subject: str
    operator: bool = False

    def may_see(self, account: Account) -> bool:
        """Whether the account is this actor's business."""
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

    async def open_account(self, draft: AccountDraft, actor: Actor) -> Account:
        """Open an empty account. Errors: NotTheOwner, ValidationError."""
        with wrap("service.open_account"):
            owner = check_owner(actor.subject if draft.owner is None else draft.owner)
            if owner != actor.subject and not actor.operator:
                raise NotTheOwner("only an operator opens accounts for others")
            return await self._accounts.insert(Account(self._new_id(), owner, 0, self._now()))

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
        """Give an account something from outside; for operators, who the edge lets through.

        Errors: AccountNotFound, BalanceOverflow, KeyReused, KeyInFlight.
        """
        with wrap("service.credit({})", account_id):
            return await self._ledger.enter(
                Entry(
                    self._new_id(), None, account_id, draft.amount, draft.reference, self._now(),
                    key=key_of(actor, key, ("credit", account_id, draft)),
                )
            )  # fmt: skip

    async def transfer(self, draft: TransferDraft, actor: Actor, key: str | None) -> Transfer:
        """Move money between two accounts.

        Errors: ValidationError, AccountNotFound, NotTheOwner, InsufficientBalance,
        BalanceOverflow, KeyReused, KeyInFlight.
        """
        with wrap("service.transfer({} to {})", draft.from_id, draft.to_id):
            check_transfer(draft)
            return await self._ledger.enter(
                Entry(
                    self._new_id(), draft.from_id, draft.to_id, draft.amount, draft.reference,
                    self._now(), debtor=None if actor.operator else actor.subject,
                    key=key_of(actor, key, ("transfer", draft)),
                )
            )  # fmt: skip

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)


def key_of(actor: Actor, text: str | None, request: object) -> Key | None:
    """The actor's key for this request; None without one."""
    if text is None:
        return None
    return Key(actor.subject, text, hashlib.sha256(msgspec.json.encode(request)).digest())
