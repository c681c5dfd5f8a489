"""``myservice top``: a live view of a running instance, on its admin port.

Any instance that can be reached will do, of ``run``, ``serve`` or ``worker``; nothing is needed of
the settings. The view is ``paceline.commands.top``; here are its options. Added to the command line
by ``cli``.
"""

import asyncio
import sys
from typing import Annotated

import typer

from paceline.commands import USAGE, fail
from paceline.commands.top import Away, Instance, once
from paceline.errors import ValidationError


def top_commands() -> typer.Typer:
    """The command."""
    app = typer.Typer()
    app.command("top", epilog="Example: myservice top http://127.0.0.1:9090, or top --once")(_top)
    return app


def _top(
    url: Annotated[
        str, typer.Argument(metavar="[URL]", help="The instance's admin port.")
    ] = "http://127.0.0.1:9090",
    *,
    token: Annotated[
        str | None,
        typer.Option(
            "--token", envvar="APP_ADMIN_TOKEN", help="Its APP_ADMIN_TOKEN, if it has one."
        ),
    ] = None,
    interval: Annotated[
        float, typer.Option("--interval", min=0.1, max=60, help="Seconds between two looks.")
    ] = 1.0,
    snapshot: Annotated[
        bool, typer.Option("--once", help="Print one look as text and end; exit code 1 if away.")
    ] = False,
) -> None:
    """Watch a running instance: rates, latencies, batches, pools, queues and its log.

    q leaves, p pauses, arrows and PgUp move in the log, End follows it again.
    """
    try:
        instance = Instance(url, token=token)
    except ValidationError as exc:
        fail(f"{exc.field}: {exc.message}", code=USAGE)
    if not snapshot and not (sys.stdin.isatty() and sys.stdout.isatty()):
        fail("top needs a terminal; --once prints one look as text", code=USAGE)
    if snapshot:
        try:
            typer.echo(asyncio.run(once(instance.url, instance.look, seconds=interval)), nl=False)
        except Away as exc:
            fail(f"{instance.url} is away: {exc.message}")
        return
    from paceline.commands.top import TopApp  # noqa: PLC0415 - slow, and only a screen needs it

    TopApp(instance.url, instance.look, interval=interval).run()
