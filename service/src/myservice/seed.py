"""Sample data for development: what ``myservice seed`` makes.

Everything has a sample id, and is made only if there is nothing of this id, by the same code as the
API; so running it twice changes nothing, and what was deleted comes back. The examples of `/docs`
name these ids, so they are true then.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

import msgspec

from myservice.config import Config
from myservice.domain.accounts import AccountDraft, CreditDraft  # paceline: only full
from myservice.domain.orders import OrderDraft  # paceline: only full
from myservice.domain.records import RecordDraft
from myservice.repository.accounts import PgAccounts  # paceline: only full
from myservice.repository.ledger import PgLedger  # paceline: only full
from myservice.repository.orders import PgOrders  # paceline: only full
from myservice.repository.records import PgRecords
from myservice.service.accounts import AccountService, Actor  # paceline: only full
from myservice.service.orders import OrderService  # paceline: only full
from myservice.service.records import RecordService
from paceline.clock import SystemClock
from paceline.commands import run_once
from paceline.errors import NotFound
from paceline.http import sample_id
from paceline.postgres import (
    Pool,
    PoolSettings,
    uuid7,  # paceline: only full
)

_RECORDS: Final[tuple[tuple[str, dict[str, str], object], ...]] = (
    ("alpha", {"colour": "blue", "size": "small"}, {"n": 1}),
    ("beta", {"colour": "red"}, {"n": 2, "tags": ["new", "checked"]}),
    ("gamma", {"colour": "green", "size": "large"}, {"n": 3, "place": {"x": 1.5, "y": -2}}),
    ("delta", {}, None),
    ("epsilon", {"colour": "blue"}, ["a", "list"]),
)
# paceline: only full {
_OPERATOR: Final = Actor("seed", operator=True)
_ACCOUNTS: Final = (("ada", 100_000), ("grace", 25_000), ("linus", 0))
_ORDERS: Final = ((1, 2, 2_500), (2, 3, 999))
# paceline: }


def seed(config: Config) -> Mapping[str, int]:
    """How many were made, by what they are."""
    pool = Pool(
        config.get_database_url(), PoolSettings(min_size=1, max_size=2, application_name="seed")
    )
    return run_once([pool], lambda: _make_all(pool))


async def _make_all(pool: Pool) -> Mapping[str, int]:
    return {
        "records": await _make_records(pool),
        "accounts": await _make_accounts(pool),  # paceline: only full
        "orders": await _make_orders(pool),  # paceline: only full
    }


async def _make_records(pool: Pool) -> int:
    made = 0
    for number, (name, metadata, data) in enumerate(_RECORDS, start=1):
        new_id = partial(sample_id, number)
        service = RecordService(PgRecords(pool), SystemClock(), new_id)
        try:
            await service.get_record(new_id())
        except NotFound:
            encoded = msgspec.Raw(msgspec.json.encode(data))
            await service.create_record(RecordDraft(name, metadata, encoded))
            made += 1
    return made


# paceline: only full {
async def _make_accounts(pool: Pool) -> int:
    made = 0
    for number, (owner, amount) in enumerate(_ACCOUNTS, start=1):
        new_id = partial(sample_id, number)
        service = AccountService(PgAccounts(pool), PgLedger(pool), SystemClock(), new_id)
        try:
            await service.get_account(new_id(), _OPERATOR)
        except NotFound:
            await service.open_account(AccountDraft(owner), _OPERATOR)
            made += 1
        if amount:
            # Its key makes it happen once, also when the last run ended between the two. Its entry
            # must not have an order's id: an order is paid by the entry with its own.
            draft = CreditDraft(amount, "sample")
            credits_ = AccountService(PgAccounts(pool), PgLedger(pool), SystemClock(), uuid7)
            await credits_.credit(new_id(), draft, _OPERATOR, f"seed-{number}")
    return made


async def _make_orders(pool: Pool) -> int:
    made = 0
    for number, (payer, payee, amount) in enumerate(_ORDERS, start=1):
        new_id = partial(sample_id, number)
        service = OrderService(PgOrders(pool), SystemClock(), new_id)
        try:
            await service.get_order(new_id(), _OPERATOR)
        except NotFound:
            draft = OrderDraft(sample_id(payer), sample_id(payee), amount, "sample")
            await service.place_order(draft, _OPERATOR, None)
            made += 1
    return made


# paceline: }
