"""``myservice bench URL``: a load from the command line, with the figures that matter.

Any HTTP/1.1 URL will do, this service's or not. The load itself is ``paceline.console.load``; here
are its options, in curl's words where curl has them. Added to the command line by ``cli``.
"""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from paceline.cli import USAGE, fail
from paceline.config import parse_duration
from paceline.console.bench import bench, report
from paceline.console.load import Plan
from paceline.console.target import Target, read_target
from paceline.errors import Error, ValidationError

_EXAMPLE = (
    "Example: myservice bench http://127.0.0.1:8080/health --duration 5s, or with --rate 500 "
    '-H "Authorization: Bearer $TOKEN" for a load that does not wait for a slow server.'
)


def bench_commands() -> typer.Typer:
    """The command."""
    app = typer.Typer()
    app.command("bench", epilog=_EXAMPLE)(_bench)
    return app


def _bench(
    url: Annotated[str, typer.Argument(metavar="URL", help="What to ask for.")],
    *,
    connections: Annotated[
        int, typer.Option("--connections", "-c", min=1, max=10_000, help="How many, kept alive.")
    ] = 32,
    duration: Annotated[
        str, typer.Option("--duration", "-d", metavar="DURATION", help="How long, such as 30s.")
    ] = "10s",
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate", "-r", min=0.01, max=1_000_000,
            help="Requests a second, by the clock: latency then counts from when each was due.",
        ),
    ] = None,
    headers: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="May be repeated."),
    ] = None,
    method: Annotated[
        str | None, typer.Option("--method", "-X", help="GET, or POST with --data.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="TEXT", help="The body; @FILE reads a file.")
    ] = None,
    patience: Annotated[
        str, typer.Option("--timeout", metavar="DURATION", help="The longest wait for an answer.")
    ] = "10s",
    insecure: Annotated[
        bool, typer.Option("--insecure", "-k", help="https: take any certificate.")
    ] = False,
    as_data: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
) -> None:  # fmt: skip
    """Load a URL and report rate, latencies and failures. Ctrl-C ends it early.

    Exit code 1 when nothing at all was answered.
    """
    try:
        target = read_target(url, method=method, headers=headers or (), data=_body(data))
    except ValidationError as exc:
        fail(f"{exc.field}: {exc.message}", code=USAGE)
    plan = Plan(
        target, connections, _seconds("--duration", duration), rate=rate,
        timeout=_seconds("--timeout", patience), tls=target.tls_context(insecure=insecure),
    )  # fmt: skip
    _warn(target)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            progress = sys.stderr if sys.stderr.isatty() else None
            tally = runner.run(bench(plan, progress))
    except Error as exc:
        fail(exc.message)
    except asyncio.CancelledError:
        fail("interrupted", code=130)
    typer.echo(report(plan, tally, as_data=as_data), nl=False)
    if tally.latencies.count == 0:
        fail("Nothing was answered.")


def _warn(target: Target) -> None:
    if not target.local:
        typer.echo(
            f"note: {target.host} is another machine; load only what is yours, "
            "and read the network into the figures.",
            err=True,
        )


def _seconds(name: str, text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        fail(f'{name}: expected a duration like "10s" or "1m30s", got {text!r}', code=USAGE)
    return seconds


def _body(data: str | None) -> bytes | None:
    if data is None or not data.startswith("@"):
        return None if data is None else data.encode()
    try:
        return Path(data[1:]).read_bytes()
    except OSError as exc:
        fail(f"--data: cannot read {data[1:]}: {exc.strerror}", code=USAGE)
