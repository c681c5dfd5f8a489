"""``top``: a live view of a running instance, on its admin port.

Any instance that can be reached will do, of ``run``, ``serve`` or ``worker``. Without an address it
is the one on the data folder, else the default port. Of the settings only the admin token's
variable and the data folder are used.
"""

import asyncio
import os
import sys
from typing import Annotated, Final

import typer

from paceline.commands.instance import InstanceSettings, find_instance, say_dimly
from paceline.commands.options import USAGE, DataDir, fail
from paceline.commands.spec import ServiceSpec
from paceline.commands.top.client import AdminClient, Unreachable
from paceline.commands.top.report import make_report
from paceline.errors import ValidationError

_DEFAULT: Final = "http://127.0.0.1:9090"


def top_commands(spec: ServiceSpec) -> typer.Typer:
    """The command, for `list_commands`."""
    settings = spec.get_config()
    variable, folder_variable = settings.variable("admin_token"), settings.variable("data_dir")
    app = typer.Typer()

    @app.command("top", epilog=f"Example: {spec.program} top http://127.0.0.1:9090, or top --once")
    def top(
        url: Annotated[
            str | None,
            typer.Argument(
                help=f"The instance's admin port; that of run in --data-dir, else {_DEFAULT}."
            ),
        ] = None,
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
        data_dir: DataDir = None,
    ) -> None:
        """Watch a running instance: rates, latencies, batches, pools, queues and its log.

        q leaves, p pauses, arrows and PgUp move in the log, End follows it again.
        """
        given = {"data_dir": data_dir or os.environ.get(folder_variable)}
        found = InstanceSettings(settings)
        kept = found(given) if url is None else {}
        instance = find_instance(found.folder) if url is None else None
        if instance is not None and instance.admin is not None:
            say_dimly(f"watching {instance.label} on {found.folder}")
            url = instance.admin
            token = token or kept.get("admin_token", (None,))[0]
        try:
            client = AdminClient(url or _DEFAULT, token=token)
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
