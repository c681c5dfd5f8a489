"""The ledger's rules: entries, why an entry is refused, and the arithmetic of balances.

Invariant: a balance is never negative, and what leaves one account arrives in another, so the total
of all balances changes by credits only. `Balances` is pure arithmetic on accounts that its caller
has locked; entries are applied one by one, in order of arrival. An idempotency key makes an entry
take effect once; it belongs to its subject and to one request.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec

from myservice.domain.accounts import MAX_AMOUNT, AccountNotFound, NotTheOwner
from paceline.errors import Code, Error
from paceline.idempotency import IdempotencyKey


class InsufficientBalance(Error):
    """The account holds less than the amount; nothing was moved."""

    kind = "insufficient-balance"

    def __init__(self, message: str = "insufficient balance: nothing was moved") -> None:
        super().__init__(Code.FAILED_PRECONDITION, message)


class BalanceOverflow(Error):
    """The receiving account cannot hold that much; nothing was moved."""

    kind = "balance-overflow"

    def __init__(self, message: str = "the balance would be too large: nothing was moved") -> None:
        super().__init__(Code.FAILED_PRECONDITION, message)


class Transfer(msgspec.Struct, frozen=True, rename={"from_id": "from", "to_id": "to"}):
    """An entry of the ledger, with what both accounts held after it.

    A credit from outside has no `from`. `to_balance` is null for who may not see that account.
    """

    id: UUID
    from_id: UUID | None
    to_id: UUID
    amount: int
    reference: str
    from_balance: int | None
    to_balance: int | None
    created_at: datetime


def shown_to(debtor: str | None, made: Transfer, receiver: str) -> Transfer:
    """The entry as its ``debtor`` may see it: without the balance of somebody else's account.

    ``debtor``: as in `Entry`. ``receiver``: who owns the account that received the amount.
    """
    if debtor is None or debtor == receiver:
        return made
    return msgspec.structs.replace(made, to_balance=None)


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A movement of money, before it is decided.

    ``debtor`` must own the account that is debited; None when the caller may debit any. A credit
    has no ``from_id``.
    """

    id: UUID
    from_id: UUID | None
    to_id: UUID
    amount: int
    reference: str
    at: datetime
    debtor: str | None = None
    key: IdempotencyKey | None = None


class Balances:
    """Balances of locked accounts, given as owner and balance by id.

    An entry changes both of its balances or none.
    """

    def __init__(self, accounts: Mapping[UUID, tuple[str, int]]) -> None:
        self._owners = {account_id: owner for account_id, (owner, _) in accounts.items()}
        self._balances = {account_id: balance for account_id, (_, balance) in accounts.items()}
        self.changed: dict[UUID, int] = {}
        """The new balances of the accounts that an entry changed."""

    def apply(self, entry: Entry) -> Transfer | Error:
        """Apply the entry; both balances are in the answer, to be kept (`show` is for the caller).

        Gives the reason when it is refused; then nothing has changed.
        """
        if (refusal := self._refusal(entry)) is not None:
            return refusal
        source, target = entry.from_id, entry.to_id
        from_balance = None
        if source is not None:
            from_balance = self._balances[source] - entry.amount
            self._balances[source] = self.changed[source] = from_balance
        to_balance = self._balances[target] + entry.amount
        self._balances[target] = self.changed[target] = to_balance
        return Transfer(
            entry.id, source, target, entry.amount, entry.reference,
            from_balance, to_balance, entry.at,
        )  # fmt: skip

    def show(self, entry: Entry, outcome: Transfer | Error) -> Transfer | Error:
        """What the caller of an entry may see of its outcome."""
        if isinstance(outcome, Error):
            return outcome
        return shown_to(entry.debtor, outcome, self._owners[outcome.to_id])

    def _refusal(self, entry: Entry) -> Error | None:
        source, target = entry.from_id, entry.to_id
        if source is not None:
            if source not in self._balances:
                return AccountNotFound(f"there is no account {source}")
            if entry.debtor is not None and self._owners[source] != entry.debtor:
                return NotTheOwner()
        if target not in self._balances:
            return AccountNotFound(f"there is no account {target}")
        if source is not None and self._balances[source] < entry.amount:
            return InsufficientBalance()
        if self._balances[target] + entry.amount > MAX_AMOUNT:
            return BalanceOverflow()
        return None
