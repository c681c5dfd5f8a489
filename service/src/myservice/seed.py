"""Sample data for development: what ``myservice seed`` makes.

Everything has a fixed id, and is made only if there is nothing of this id, by the same code as the
API; so running it twice changes nothing, and what was deleted comes back.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final
from uuid import UUID
from zlib import crc32

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
from paceline.postgres import Pool, PoolSettings

_FIRST_ID: Final = UUID("0190c2c0-0000-7000-8000-000000000000").int
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
_ORDERS: Final = ((0, 1, 2_500), (1, 2, 999))
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
    for number, (name, metadata, data) in enumerate(_RECORDS):
        new_id = partial(_fixed_id, "records", number)
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
    for number, (owner, amount) in enumerate(_ACCOUNTS):
        new_id = partial(_fixed_id, "accounts", number)
        service = AccountService(PgAccounts(pool), PgLedger(pool), SystemClock(), new_id)
        try:
            await service.get_account(new_id(), _OPERATOR)
        except NotFound:
            await service.open_account(AccountDraft(owner), _OPERATOR)
            made += 1
        if amount:
            # Its key makes it happen once, also when the last run ended between the two.
            draft = CreditDraft(amount, "sample")
            await service.credit(new_id(), draft, _OPERATOR, f"seed-{number}")
    return made


async def _make_orders(pool: Pool) -> int:
    made = 0
    for number, (payer, payee, amount) in enumerate(_ORDERS):
        new_id = partial(_fixed_id, "orders", number)
        service = OrderService(PgOrders(pool), SystemClock(), new_id)
        try:
            await service.get_order(new_id(), _OPERATOR)
        except NotFound:
            draft = OrderDraft(
                _fixed_id("accounts", payer), _fixed_id("accounts", payee), amount, "sample"
            )
            await service.place_order(draft, _OPERATOR, None)
            made += 1
    return made


# paceline: }


def _fixed_id(kind: str, number: int) -> UUID:
    """The same at every run, different for each kind."""
    return UUID(int=_FIRST_ID + (crc32(kind.encode()) << 16) + number)
