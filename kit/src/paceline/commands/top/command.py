"""``top``: a live view of a running instance, on its admin port.

Any instance that can be reached will do, of ``run``, ``serve`` or ``worker``. Without an address it
is the one on the data folder, else the port that the environment names, else the default one. What
is no admin port is reported before there is a screen; once an instance was seen, the screen waits
for it while it is away.
"""

import asyncio
import os
import sys
from pathlib import Path
from shutil import get_terminal_size
from typing import Annotated, Final

import typer

from paceline.commands.instance import InstanceSettings, find_instance, say_dimly
from paceline.commands.lazy import USAGE
from paceline.commands.options import DataDir, fail
from paceline.commands.spec import ServiceSpec
from paceline.commands.top.client import AdminClient, NoAdminPort, Trust, Unreachable
from paceline.commands.top.report import make_report
from paceline.errors import ValidationError

_DEFAULT_PORT: Final = "9090"


def top_commands(spec: ServiceSpec) -> typer.Typer:
    """The command, for `list_commands`."""
    settings = spec.get_config()
    variable, folder_variable = settings.variable("admin_token"), settings.variable("data_dir")
    port_variable = settings.variable("admin_port")
    certificate_variable = settings.variable("admin_tls_cert")
    app = typer.Typer()

    @app.command("top", epilog=f"Example: {spec.program} top http://127.0.0.1:9090, or top --once")
    def top(
        url: Annotated[
            str | None,
            typer.Argument(
                help="The instance's admin port; that of run in --data-dir, else 127.0.0.1:9090."
            ),
        ] = None,
        *,
        token: Annotated[
            str | None,
            typer.Option("--token", envvar=variable, help=f"Its {variable}, if it has one."),
        ] = None,
        ca: Annotated[
            Path | None,
            typer.Option("--ca", metavar="FILE", help="Whom to trust over https (PEM)."),
        ] = None,
        cert: Annotated[
            Path | None,
            typer.Option("--cert", metavar="FILE", help="A client certificate (PEM)."),
        ] = None,
        key: Annotated[
            Path | None, typer.Option("--key", metavar="FILE", help="Its key (PEM).")
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
        found(given)
        instance = find_instance(found.folder) if url is None else None
        nobody, pinned = "", None
        if instance is not None and instance.admin is not None:
            say_dimly(f"watching {instance.label} on {found.folder}")
            url, pinned = instance.admin, instance.admin_certificate
            token = token or instance.settings.get("admin_token")
        elif url is None:
            nobody = f"No `{spec.program} run` is on {found.folder}, and "
            pinned = os.environ.get(certificate_variable) or None
            scheme = "http" if pinned is None else "https"
            url = f"{scheme}://127.0.0.1:{os.environ.get(port_variable) or _DEFAULT_PORT}"
        try:
            trust = Trust(
                ca=ca,
                pinned=Path(pinned) if pinned and ca is None else None,
                certificate=cert,
                key=key,
            )
            client = AdminClient(url, token=token, trust=trust)
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
            fail(nobody + _sentence(exc, client.url, program=spec.program, port=port_variable))
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
