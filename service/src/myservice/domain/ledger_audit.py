"""The result of an audit of the ledger: the totals, and whatever does not add up.

A ledger is clean when every balance is the sum of its account's entries, when all balances
together are what was credited from outside, when every idempotency key that names an entry names
one that exists, and when each paid order has the entry that pays it and no other order has one.
"""

import msgspec


class LedgerAudit(msgspec.Struct, frozen=True):
    """The result; amounts in minor units. ``faults`` are sentences, empty when all adds up."""

    accounts: int
    entries: int
    total_balance: int
    total_credited: int
    faults: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether everything adds up."""
        return not self.faults
