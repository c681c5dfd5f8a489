"""``top``: a live view of a running instance, on its admin port.

Any instance that can be reached will do, of ``run``, ``serve`` or ``worker``; of the settings only
the admin token's variable is used. What is no admin port is reported before there is a screen;
once an instance was seen, the screen waits for it while it is away.
"""

import asyncio
import sys
from shutil import get_terminal_size
from typing import Annotated

import typer

from paceline.commands.options import USAGE, fail
from paceline.commands.spec import ServiceSpec
from paceline.commands.top.client import AdminClient, NoAdminPort, Unreachable
from paceline.commands.top.report import make_report
from paceline.errors import ValidationError


def top_commands(spec: ServiceSpec) -> typer.Typer:
    """The command, for `list_commands`."""
    settings = spec.get_config()
    variable, port = settings.variable("admin_token"), settings.variable("admin_port")
    app = typer.Typer()

    @app.command("top", epilog=f"Example: {spec.name} top http://127.0.0.1:9090, or top --once")
    def top(
        url: Annotated[
            str, typer.Argument(metavar="[URL]", help="The instance's admin port.")
        ] = "http://127.0.0.1:9090",
        *,
        token: Annotated[
            str | None,
            typer.Option("--token", envvar=variable, help=f"Its {variable}, if it has one."),
        ] = None,
        interval: Annotated[
            float, typer.Option("--interval", min=0.1, max=60, help="Seconds between two looks.")
        ] = 1.0,
        once: Annotated[
            bool,
            typer.Option("--once", help="Print one look as text and end; exit code 1 if away."),
        ] = False,
    ) -> None:
        """Watch a running instance: rates, latencies, batches, pools, queues and its log.

        q leaves, p pauses, arrows and PgUp move in the log, End follows it again.
        """
        try:
            client = AdminClient(url, token=token)
        except ValidationError as exc:
            fail(f"{exc.field}: {exc.message}", code=USAGE)
        if not once and not (sys.stdin.isatty() and sys.stdout.isatty()):
            fail("top needs a terminal; --once prints one look as text", code=USAGE)
        try:
            asyncio.run(client.check())
            if once:
                width = get_terminal_size((100, 0)).columns
                look = make_report(client.url, client.take_snapshot, seconds=interval, width=width)
                typer.echo(asyncio.run(look), nl=False)
                return
        except Unreachable as exc:
            fail(_sentence(exc, client.url, program=spec.name, port=port))
        from paceline.commands.top import TopApp  # noqa: PLC0415 - slow, and only a screen needs it

        TopApp(client.url, client.take_snapshot, interval=interval).run()

    return app


def _sentence(exc: Unreachable, url: str, *, program: str, port: str) -> str:
    """What is wrong at ``url``, and what to give instead. ``port``: the setting."""
    wanted = (
        f"Give the admin port of a running instance: {program} top http://HOST:PORT. It is the one "
        f'of {port}, and "admin" in the line "ready" of its log.'
    )
    if isinstance(exc, NoAdminPort):
        return f"{url} is not what top needs: {exc.message}. {wanted}"
    if "token" in exc.message:
        return f"{url} cannot be watched: {exc.message}."
    return f"{url} is away: {exc.message}. {wanted}"
