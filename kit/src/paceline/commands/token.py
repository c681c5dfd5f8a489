"""``token``: a bearer token that the service accepts.

Tokens are signed with the service's secret, and have the issuer, the audience and the lifetime of
the settings it verifies them by, so none of those can be forgotten by one of the places that make
tokens. A scope that the service does not have is refused: a token with a misspelt one would be
refused later, by a route, with less to go by.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated

import typer

import paceline.auth as auth_room  # its names are imported when they are used
from paceline.clock import SystemClock
from paceline.commands.lazy import USAGE
from paceline.commands.one_off import get_settings, load_for
from paceline.commands.options import ConfigFile, DataDir, complete_from, fail
from paceline.commands.settings import AuthSettings
from paceline.commands.spec import ServiceSpec
from paceline.edge import suggestion
from paceline.errors import Error


def token_commands(spec: ServiceSpec) -> typer.Typer:
    """The command, for `list_commands`."""
    settings = get_settings(spec, AuthSettings)
    scopes = [*spec.get_scopes()]
    example = f"Example: {spec.program} token --sub ada"
    allows = "What it allows; may be repeated."
    if scopes:
        example += f" --scope {scopes[0]}"
        allows = f"What it allows; may be repeated: {', '.join(scopes)}."
    app = typer.Typer()

    @app.command("token", epilog=example, help=f"Make a bearer token, signed with "
        f"{settings.variable('jwt_secret')}, and print it.")  # fmt: skip
    def token(
        sub: Annotated[
            str, typer.Option("--sub", metavar="SUBJECT", help="For whom the token speaks.")
        ],
        scope: Annotated[
            list[str] | None,
            typer.Option(
                "--scope", metavar="SCOPE", help=allows, autocompletion=complete_from(scopes)
            ),
        ] = None,
        *,
        all_scopes: Annotated[
            bool, typer.Option("--all-scopes", help="Allow everything, to try things out.")
        ] = False,
        expiry: Annotated[
            str | None,
            typer.Option(
                "--expiry",
                metavar="DURATION",
                help=f"How long it is good; {settings.variable('token_expiry')} without.",
            ),
        ] = None,
        data_dir: DataDir = None,
        config_file: ConfigFile = None,
    ) -> None:
        wanted = scopes if all_scopes else scope or []
        _check_scopes(wanted, scopes)
        flags = {"token_expiry": expiry, "data_dir": data_dir}
        config = load_for(settings, "token", flags, config_file)
        try:
            typer.echo(new_token(config, sub, wanted))
        except Error as exc:
            fail(str(exc), code=USAGE)

    return app


def _check_scopes(wanted: Sequence[str], scopes: list[str]) -> None:
    for scope in wanted:
        if scopes and scope not in scopes:
            fail(
                f"there is no scope {scope}{suggestion(scope, scopes)}\n"
                f"The scopes are: {', '.join(scopes)}",
                code=USAGE,
            )


def new_token(config: AuthSettings, subject: str, scopes: Iterable[str]) -> str:
    """A token for ``subject``, good for the configured time.

    Errors: ``Error(INVALID_ARGUMENT)`` for a subject or scope that no token can have;
    ``ValueError`` without a secret.
    """
    return auth_room.issue_token(
        config.get_jwt_secret().encode(),
        subject=subject,
        scopes=scopes,
        expiry=config.token_expiry,
        clock=SystemClock(),
        issuer=config.jwt_issuer,
        audience=config.jwt_audience,
    )
