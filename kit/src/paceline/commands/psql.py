"""``psql``: PostgreSQL's own shell on the service's database.

It is the wheel's program, else the system's. The process becomes it, so signals and the exit code
are its own; a password goes by the environment, because other accounts can read command lines.
"""

import os
from collections.abc import Sequence
from typing import Annotated, Never
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import typer

from paceline.commands.one_off import get_settings, load_for
from paceline.commands.options import ConfigFile, DatabaseUrl, DataDir, fail
from paceline.commands.settings import PostgresSettings
from paceline.commands.spec import ServiceSpec
from paceline.engines import find_psql

Arguments = Annotated[
    list[str] | None, typer.Argument(metavar="[-- ARGUMENT…]", help="psql's own arguments.")
]


def psql_commands(spec: ServiceSpec) -> typer.Typer:
    """The command, for `list_commands`."""
    settings = get_settings(spec, PostgresSettings)
    app = typer.Typer()

    @app.command("psql", epilog=f"Example: {spec.program} psql -- -c 'SELECT version()'")
    def psql(
        arguments: Arguments = None,
        database_url: DatabaseUrl = None,
        data_dir: DataDir = None,
        config_file: ConfigFile = None,
    ) -> None:
        """Open psql on the database, by default that of a running instance."""
        flags = {"database_url": database_url, "data_dir": data_dir}
        config = load_for(settings, "psql", flags, config_file)
        _become_psql(config.get_database_url(), arguments or ())

    return app


def _become_psql(url: str, arguments: Sequence[str]) -> Never:
    visible, password = without_password(url)
    program = find_psql()
    if program is None:
        fail(
            "there is no psql here: pip install 'paceline[engines]', or apt install"
            f" postgresql-client. The database is at {visible}"
        )
    environment = {**os.environ} if password is None else {**os.environ, "PGPASSWORD": password}
    command = [str(program), *arguments, visible]
    os.execve(command[0], command, environment)  # noqa: S606 - no shell is wanted


def without_password(url: str) -> tuple[str, str | None]:
    """The URL as it may be seen, and its password if it has one."""
    parts = urlsplit(url)
    asked = parse_qsl(parts.query, keep_blank_values=True)
    given = [value for name, value in asked if name == "password"]
    password = given[-1] if given else None
    # What psql does not know, and what is not to be seen.
    others = [pair for pair in asked if pair[0] not in ("password", "pgbouncer")]
    if others != asked:
        parts = parts._replace(query=urlencode(others, quote_via=quote))
    if parts.password is not None:
        password = unquote(parts.password)
        user, _, host = parts.netloc.rpartition("@")
        parts = parts._replace(netloc=f"{user.partition(':')[0]}@{host}")
    return urlunsplit(parts) if others != asked or password is not None else url, password
