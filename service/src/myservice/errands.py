"""What commands stand on that do one thing and end: wired here, as servers are in ``main``.

Each gives its services, to be started in order and stopped in reverse, and what the command uses.
Nothing here does I/O. Called by ``ledger_cli``, ``dead_cli`` and ``records_cli``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from myservice.config import Config
from myservice.repository.accounts import PgAccounts
from myservice.repository.audit import PgAudit
from myservice.repository.imports import PgImports
from myservice.repository.ledger import PgLedger
from myservice.repository.records import PgRecords
from myservice.service.accounts import AccountService
from myservice.service.exports import ExportService
from myservice.service.imports import ImportService
from paceline.clock import SystemClock
from paceline.lifecycle import Service
from paceline.log import Logger
from paceline.messaging.nats import DeadLetters, NatsBus, dead_letter_stream
from paceline.postgres import Pool, uuid7


@dataclass(frozen=True, slots=True)
class Books:
    """The ledger for a command: start ``services`` in order, stop them in reverse."""

    services: Sequence[Service]
    service: AccountService
    audit: PgAudit


def build_books(config: Config) -> Books:
    """Wire what ``myservice ledger`` needs."""
    pool = Pool(config.get_database_url(), min_size=1, max_size=2, application_name="ledger")
    accounts, ledger = PgAccounts(pool), PgLedger(pool)
    service = AccountService(accounts, ledger, SystemClock(), uuid7)
    return Books([pool, accounts, ledger], service, PgAudit(pool))


@dataclass(frozen=True, slots=True)
class Graveyard:
    """The dead letters for a command: start ``services`` in order, stop them in reverse."""

    services: Sequence[Service]
    letters: DeadLetters


def build_graveyard(config: Config, log: Logger) -> Graveyard:
    """Wire what ``myservice dead`` needs."""
    bus = NatsBus(config.get_nats_url(), log, name="myservice dead")
    return Graveyard(
        [bus], DeadLetters(bus, stream=dead_letter_stream(replicas=config.nats_replicas))
    )


@dataclass(frozen=True, slots=True)
class Archive:
    """Import and export for a command: start ``services`` in order, stop them in reverse."""

    services: Sequence[Service]
    imports: ImportService
    exports: ExportService


def build_archive(config: Config, *, processes: int = 1) -> Archive:
    """Wire what ``myservice records`` needs."""
    pool = Pool(config.get_database_url(), min_size=1, max_size=2, application_name="records")
    records = PgRecords(pool)
    imports = ImportService(PgImports(pool), SystemClock(), uuid7, processes=processes)
    return Archive([pool, records], imports, ExportService(records))
