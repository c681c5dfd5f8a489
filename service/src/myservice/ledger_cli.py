"""``myservice ledger``: what an operator does with the ledger from the command line.

``verify`` proves that the books are right, beside a running service; ``credit`` gives an account
something from outside, by the same code and the same locks as the API. Amounts are as people write
them (``domain.accounts.parse_amount``). Added to the command line by ``cli``.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar
from uuid import UUID

import typer

from myservice.config import MigrateConfig
from myservice.domain.accounts import CreditDraft, parse_amount
from myservice.errands import Books, build_books
from myservice.service.accounts import Actor
from paceline.commands import USAGE, fail, load_or_fail
from paceline.errors import Error, ValidationError, chain
from paceline.lifecycle import Lifecycle
from paceline.log import new_logger

T = TypeVar("T")

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings in a TOML or YAML file.")
]
DatabaseUrl = Annotated[
    str | None, typer.Option("--database-url", metavar="URL", help="PostgreSQL, as for serve.")
]
_OPERATOR = Actor("command line", operator=True)


def ledger_commands() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(name="ledger", help="Prove and feed the ledger.", no_args_is_help=True)
    app.command("verify", epilog="Example: APP_DATABASE_URL=… myservice ledger verify")(_verify)
    app.command("credit", epilog="Example: myservice ledger credit 0192f0a0-… 99.99 --key gift-1")(
        _credit
    )
    return app


def _verify(database_url: DatabaseUrl = None, config_file: ConfigFile = None) -> None:
    """Check that every balance is the sum of its entries. Exit code 1 when it is not."""
    audit = _with_books(database_url, config_file, lambda books: books.audit.run())
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
    config_file: ConfigFile = None,
) -> None:
    """Give an account an amount from outside, and print its new balance."""
    try:
        draft = CreditDraft(parse_amount(amount), reference)
    except ValidationError as exc:
        fail(f"{exc.field}: {exc.message}", code=USAGE)
    if draft.amount == 0:
        fail("amount: must be more than nothing", code=USAGE)
    made = _with_books(
        database_url,
        config_file,
        lambda books: books.service.credit(account, draft, _OPERATOR, key),
    )
    typer.echo(f"{made.to_id} holds {made.to_balance} after entry {made.id}")


def _with_books(
    database_url: str | None, file: Path | None, use: Callable[[Books], Awaitable[T]]
) -> T:
    flags = {"database_url": database_url}
    config = load_or_fail(MigrateConfig, flags, file).config

    async def run() -> T:
        books = build_books(config)
        async with Lifecycle(books.services, new_logger("warning", stream=sys.stderr)):
            return await use(books)

    try:
        return asyncio.run(run())
    except Error as exc:
        fail(chain(exc))
