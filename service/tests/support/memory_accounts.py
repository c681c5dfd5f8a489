"""Accounts and a ledger in dictionaries: the fakes, held to the same contract as PostgreSQL."""

from uuid import UUID

import msgspec

from myservice.domain.accounts import Account, AccountNotFound
from myservice.domain.ledger import Balances, Entry, Transfer, shown_to
from paceline.errors import Error
from paceline.idempotency import IdempotencyKey, KeyReused


class MemoryAccounts:
    """Implements ``AccountRepository`` and ``Ledger`` of ``myservice.service.accounts``."""

    def __init__(self) -> None:
        self._accounts: dict[UUID, Account] = {}
        self._opened: dict[tuple[str, str], tuple[bytes, Account]] = {}
        self._keys: dict[tuple[str, str], tuple[bytes, Transfer | Error]] = {}

    async def insert(self, account: Account, key: IdempotencyKey | None = None) -> Account:
        if key is not None:
            place = (key.subject, key.text)
            fingerprint, first = self._opened.setdefault(place, (key.fingerprint, account))
            if fingerprint != key.fingerprint:
                raise KeyReused
            account = first
        self._accounts[account.id] = account
        return account

    async def get(self, account_id: UUID) -> Account:
        if account_id not in self._accounts:
            raise AccountNotFound
        return self._accounts[account_id]

    async def enter(self, entry: Entry) -> Transfer:
        outcome = self._once(entry)
        if isinstance(outcome, Error):
            raise outcome
        return shown_to(entry.debtor, outcome, self._accounts[outcome.to_id].owner)

    def _once(self, entry: Entry) -> Transfer | Error:
        if entry.key is None:
            return self._apply(entry)
        place = (entry.key.subject, entry.key.text)
        if place not in self._keys:
            self._keys[place] = (entry.key.fingerprint, self._apply(entry))
        fingerprint, outcome = self._keys[place]
        return outcome if fingerprint == entry.key.fingerprint else KeyReused()

    def _apply(self, entry: Entry) -> Transfer | Error:
        balances = Balances({one.id: (one.owner, one.balance) for one in self._accounts.values()})
        outcome = balances.apply(entry)
        for account_id, balance in balances.changed.items():
            changed = msgspec.structs.replace(self._accounts[account_id], balance=balance)
            self._accounts[account_id] = changed
        return outcome
