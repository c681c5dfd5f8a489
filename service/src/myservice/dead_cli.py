"""``myservice dead``: what an operator does with messages that could not be handled.

``list`` and ``show`` read; ``retry`` sends messages again to where they came from, once the cause
is mended; ``drop`` removes them for good. Letters are named by their numbers, which ``list``
prints. Several may be given; what fails is told, and the rest goes on. Without APP_NATS_URL they
ask the server that ``myservice run`` keeps in the data folder, and say so. The letters themselves
are ``paceline.messaging.nats.dead_letters``; added to the command line by ``cli``.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer

from myservice.config import Config
from myservice.errands import Graveyard, build_graveyard
from paceline.commands import USAGE, fail, load_or_fail
from paceline.engines import EngineError, find_nats_url
from paceline.errors import Error, chain
from paceline.log import new_logger
from paceline.messaging.nats import StoredDeadLetter

T = TypeVar("T")

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings in a TOML or YAML file.")
]
NatsUrl = Annotated[
    str | None,
    typer.Option(
        "--nats-url",
        metavar="URL",
        help="NATS, as for the worker; without, that of `myservice run` in --data-dir.",
    ),
]
DataDir = Annotated[
    str | None,
    typer.Option("--data-dir", metavar="FOLDER", help="Of a `myservice run`; .data by default."),
]
Numbers = Annotated[list[int], typer.Argument(metavar="NUMBER…", help="Of letters, as in list.")]
AsData = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def dead_commands() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(name="dead", help="Look after dead letters.", no_args_is_help=True)
    app.command("list", epilog="Example: myservice dead list --limit 20 --data-dir .data")(_list)
    app.command("show", epilog="Example: APP_NATS_URL=… myservice dead show 7")(_show)
    app.command("retry", epilog="Example: APP_NATS_URL=… myservice dead retry 7 9")(_retry)
    app.command("drop", epilog="Example: APP_NATS_URL=… myservice dead drop 7")(_drop)
    return app


def _list(
    *,
    after: Annotated[int, typer.Option("--after", help="Go on behind this number.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 100,
    as_data: AsData = False,
    nats_url: NatsUrl = None,
    data_dir: DataDir = None,
    config_file: ConfigFile = None,
) -> None:
    """List the letters, the oldest first."""
    config = _load(nats_url, data_dir, config_file)
    found = _with_letters(config, lambda yard: yard.letters.list(after=after, limit=limit))
    for each in found:
        typer.echo(_as_json(each) if as_data else _as_line(each))
    if not as_data and not found:
        typer.echo("No dead letters.", err=True)
    if not as_data and len(found) == limit:
        typer.echo(f"More: myservice dead list --after {found[-1].number}", err=True)


def _show(
    number: Annotated[int, typer.Argument(help="The letter's, as in list.")],
    *,
    as_data: AsData = False,
    nats_url: NatsUrl = None,
    data_dir: DataDir = None,
    config_file: ConfigFile = None,
) -> None:
    """Show everything that is known of a letter, and its message."""
    config = _load(nats_url, data_dir, config_file)
    found = _with_letters(config, lambda yard: yard.letters.show(number))
    typer.echo(_as_json(found) if as_data else _as_page(found))


def _retry(
    numbers: Numbers,
    nats_url: NatsUrl = None,
    data_dir: DataDir = None,
    config_file: ConfigFile = None,
) -> None:
    """Send messages again to where they came from, and remove their letters."""

    async def retry(yard: Graveyard, number: int) -> str:
        again = await yard.letters.retry(number)
        return f"{number}: sent to {again.subject} as {again.id}"

    _each(numbers, _load(nats_url, data_dir, config_file), retry)


def _drop(
    numbers: Numbers,
    nats_url: NatsUrl = None,
    data_dir: DataDir = None,
    config_file: ConfigFile = None,
) -> None:
    """Remove letters for good."""

    async def drop(yard: Graveyard, number: int) -> str:
        await yard.letters.drop(number)
        return f"{number}: dropped"

    _each(numbers, _load(nats_url, data_dir, config_file), drop)


def _each(
    numbers: Sequence[int], config: Config, do: Callable[[Graveyard, int], Awaitable[str]]
) -> None:
    async def run(yard: Graveyard) -> list[str]:
        failures: list[str] = []
        for number in numbers:
            try:
                typer.echo(await do(yard, number))
            except Error as exc:
                failures.append(f"{number}: {chain(exc)}")
        return failures

    if failures := _with_letters(config, run):
        fail("\n".join(failures))


def _as_line(buried: StoredDeadLetter) -> str:
    letter = buried.letter
    reason = " ".join(letter.reason.split())
    return (
        f"{buried.number}\t{letter.died_at:%Y-%m-%dT%H:%M:%SZ}\t{letter.subject}\t{letter.id}\t"
        f"{letter.kind} ({letter.attempts})\t{reason:.80}"
    )


def _as_page(buried: StoredDeadLetter) -> str:
    letter = buried.letter
    rows = {
        "number": buried.number,
        "died": letter.died_at.isoformat(),
        "id": letter.id,
        "subject": letter.subject,
        "key": letter.key,
        "consumer": letter.consumer,
        "attempts": letter.attempts,
        "kind": letter.kind,
        "reason": letter.reason,
        **{f"header {name}": value for name, value in letter.headers.items()},
    }
    if letter.truncated:
        rows["data"] = f"{letter.truncated} bytes, too many to be kept"
    lines = [f"{name:10} {value}" for name, value in rows.items()]
    return "\n".join([*lines, "", letter.data.decode(errors="backslashreplace")])


def _as_json(buried: StoredDeadLetter) -> str:
    letter = msgspec.to_builtins(buried.letter)
    letter["data"] = buried.letter.data.decode(errors="backslashreplace")
    return msgspec.json.encode({"number": buried.number, **letter}).decode()


def _load(nats_url: str | None, data_dir: str | None, file: Path | None) -> Config:
    """The settings, with a queue in any case."""
    config = load_or_fail(Config, {"nats_url": nats_url, "data_dir": data_dir}, file).config
    if config.nats_url is not None:
        return config
    folder = config.data_dir / "nats"
    try:
        kept = find_nats_url(folder)
    except (EngineError, OSError) as exc:
        fail(f"cannot see what `myservice run` keeps in {folder}: {exc}")
    if kept is None:
        message = f"APP_NATS_URL: required, not set; nor has `myservice run` kept any in {folder}"
        fail(message, code=USAGE)
    typer.echo(f"asking the queue of `myservice run` in {folder}", err=True)
    return config.replaced(nats_url=kept)


def _with_letters(config: Config, use: Callable[[Graveyard], Awaitable[T]]) -> T:
    log = new_logger("warning", stream=sys.stderr)

    async def run() -> T:
        yard = build_graveyard(config, log)
        async with AsyncExitStack() as stack:
            for service in yard.services:
                stack.push_async_callback(service.stop)
                await service.start()
            return await use(yard)

    try:
        return asyncio.run(run())
    except Error as exc:
        fail(chain(exc))
