"""``myservice token`` and ``config``: what needs the settings, and nothing that they point to.

Both read the settings as every command does, so what they show or sign with is what ``serve`` would
use. Added to the command line by ``cli``.
"""

from pathlib import Path
from typing import Annotated

import typer

from myservice.config import Config, TokenConfig
from myservice.tokens import new_token
from paceline.commands import USAGE, fail, load_or_fail
from paceline.config import effective_settings, settings_as_json, settings_as_text
from paceline.errors import Error

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings in a TOML or YAML file.")
]


def settings_commands() -> typer.Typer:
    """The two of them."""
    app = typer.Typer()
    app.command("token", epilog="Example: myservice token --sub ada --scope records:read")(_token)
    app.command("config", epilog="Example: APP_PORT=9000 myservice config")(_config)
    return app


def _token(
    sub: Annotated[str, typer.Option("--sub", help="For whom the token speaks.")],
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="What it allows, such as records:read; may be repeated."),
    ] = None,
    expiry: Annotated[
        str | None, typer.Option("--expiry", metavar="DURATION", help="How long it is good.")
    ] = None,
    config_file: ConfigFile = None,
) -> None:
    """Make a bearer token, signed with APP_JWT_SECRET, and print it."""
    flags = {"token_expiry": expiry}
    config = load_or_fail(TokenConfig, flags, config_file).config
    try:
        typer.echo(new_token(config, sub, scope or []))
    except Error as exc:
        fail(str(exc), code=USAGE)


def _config(
    *,
    as_data: Annotated[bool, typer.Option("--json", help="As JSON, with each one's help.")] = False,
    config_file: ConfigFile = None,
) -> None:
    """Print the effective configuration and where each value came from; secrets are masked."""
    rows = effective_settings(load_or_fail(Config, {}, config_file))
    typer.echo(settings_as_json(rows) if as_data else settings_as_text(rows), nl=False)
