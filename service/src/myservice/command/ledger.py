"""``myservice ledger``: auditing the ledger, and crediting accounts.

``verify`` audits the ledger, also beside a running service; ``credit`` credits an account with the
same code and the same locks as the API.
"""

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from myservice.config import Config
from myservice.domain.accounts import CreditDraft, parse_amount
from myservice.repository.accounts import PgAccounts
from myservice.repository.ledger import PgLedger
from myservice.repository.ledger_audit import PgLedgerAudit
from myservice.service.accounts import AccountService, Actor
from paceline.clock import SystemClock
from paceline.commands import USAGE, ConfigFile, DatabaseUrl, DataDir, fail, load_for, run_once
from paceline.errors import ValidationError
from paceline.postgres import Pool, PoolSettings, uuid7

_OPERATOR = Actor("command line", operator=True)


def ledger_commands() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(name="ledger", help="Audit and credit the ledger.", no_args_is_help=True)
    app.command("verify", epilog="Example: myservice ledger verify --data-dir .data")(_verify)
    app.command("credit", epilog="Example: myservice ledger credit 0192f0a0-… 99.99 --key gift-1")(
        _credit
    )
    return app


def _verify(
    database_url: DatabaseUrl = None, data_dir: DataDir = None, config_file: ConfigFile = None
) -> None:
    """Check that every balance is the sum of its entries. Exit code 1 when it is not."""
    pool = _pool(database_url, data_dir, config_file)
    audit = run_once([pool], PgLedgerAudit(pool).run)
    typer.echo(
        f"{audit.accounts} accounts, {audit.entries} entries; "
        f"all balances: {audit.total_balance}, all credits: {audit.total_credited}"
    )
    if not audit.clean:
        fail("\n".join(["The ledger does not add up:", *audit.faults]))
    typer.echo("The ledger is clean.")


def _credit(
    account: Annotated[UUID, typer.Argument(help="The account's id.")],
    amount: Annotated[str, typer.Argument(help='"9999" (minor units) or "99.99".')],
    *,
    reference: Annotated[str, typer.Option("--reference", help="What it is for.")] = "",
    key: Annotated[
        str | None, typer.Option("--key", help="Idempotency key: credit once, however often.")
    ] = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config_file: ConfigFile = None,
) -> None:
    """Give an account an amount from outside, and print its new balance."""
    try:
        draft = CreditDraft(parse_amount(amount), reference)
    except ValidationError as exc:
        fail(f"{exc.field}: {exc.message}", code=USAGE)
    if draft.amount == 0:
        fail("amount: must be more than nothing", code=USAGE)
    pool = _pool(database_url, data_dir, config_file)
    service = AccountService(PgAccounts(pool), PgLedger(pool), SystemClock(), uuid7)
    made = run_once([pool], lambda: service.credit(account, draft, _OPERATOR, key))
    typer.echo(f"{made.to_id} holds {made.to_balance} after entry {made.id}")


def _pool(database_url: str | None, data_dir: str | None, file: Path | None) -> Pool:
    flags = {"database_url": database_url, "data_dir": data_dir}
    config = load_for(Config, "migrate", flags, file)
    return Pool(
        config.get_database_url(),
        PoolSettings(min_size=1, max_size=2, application_name="ledger"),
    )
