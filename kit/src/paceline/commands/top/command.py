"""``top``: a live view of a running instance, on its admin port.

Any instance that can be reached will do, of ``run``, ``serve`` or ``worker``; of the settings only
the admin token's variable is used.
"""

import asyncio
import sys
from typing import Annotated

import typer

from paceline.commands.options import USAGE, fail
from paceline.commands.spec import ServiceSpec
from paceline.commands.top.client import AdminClient, Unreachable
from paceline.commands.top.report import make_report
from paceline.errors import ValidationError


def top_commands(spec: ServiceSpec) -> typer.Typer:
    """The command, for `list_commands`."""
    variable = spec.get_config().variable("admin_token")
    app = typer.Typer()

    @app.command("top", epilog=f"Example: {spec.program} top http://127.0.0.1:9090, or top --once")
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
        if once:
            try:
                text = asyncio.run(make_report(client.url, client.take_snapshot, seconds=interval))
            except Unreachable as exc:
                fail(f"{client.url} is away: {exc.message}")
            typer.echo(text, nl=False)
            return
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            fail("top needs a terminal; --once prints one look as text", code=USAGE)
        from paceline.commands.top import TopApp  # noqa: PLC0415 - slow, and only a screen needs it

        TopApp(client.url, client.take_snapshot, interval=interval).run()

    return app
