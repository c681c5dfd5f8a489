"""``dead``: what an operator does with messages that could not be handled.

``list`` and ``show`` read; ``retry`` sends messages again to where they came from, once the cause
is mended; ``drop`` removes them for good. Dead letters have numbers, which ``list`` prints. Of
several numbers each is tried; failures are reported at the end, exit code 1. Without an address in
the settings the commands use the server of the ``run`` on the data folder. Invariant: a message is
strangers' text, so what a terminal would interpret is printed as its escape.
"""

import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer

from paceline.commands.one_off import get_settings, load_for, run_once
from paceline.commands.options import ConfigFile, DataDir, fail
from paceline.commands.settings import NatsSettings
from paceline.commands.spec import ServiceSpec
from paceline.errors import Error, chain
from paceline.log import new_logger, printable, printable_json
from paceline.messaging.nats import DeadLetters, NatsBus, StoredDeadLetter, dead_letter_stream

T = TypeVar("T")

Number = Annotated[int, typer.Argument(help="The letter's, as in list.")]
Numbers = Annotated[list[int], typer.Argument(metavar="NUMBER…", help="Of letters, as in list.")]
AsData = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
After = Annotated[int, typer.Option("--after", help="Go on behind this number.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="How many at most.")]


def dead_commands(spec: ServiceSpec) -> typer.Typer:
    """The group of commands, for `list_commands`."""
    queue = _Queue(spec)
    variable = spec.get_config().variable("nats_url")
    app = typer.Typer(name="dead", help="Look after dead letters.", no_args_is_help=True)
    url_option = typer.Option(
        "--nats-url",
        metavar="URL",
        help="NATS, as for the worker; without, that of run in --data-dir.",
    )

    @app.command("list", epilog=f"Example: {spec.program} dead list --limit 20 --data-dir .data")
    def list_letters(
        *,
        after: After = 0,
        limit: Limit = 100,
        as_data: AsData = False,
        nats_url: Annotated[str | None, url_option] = None,
        data_dir: DataDir = None,
        config_file: ConfigFile = None,
    ) -> None:
        """List the letters, the oldest first."""
        config = queue.load(nats_url, data_dir, config_file)
        found = queue.use(config, lambda letters: letters.list(after=after, limit=limit))
        for each in found:
            typer.echo(as_json(each) if as_data else as_line(each))
        if not as_data and not found:
            typer.echo("No dead letters.", err=True)
        if not as_data and len(found) == limit:
            typer.echo(f"More: {spec.program} dead list --after {found[-1].number}", err=True)

    @app.command("show", epilog=f"Example: {variable}=… {spec.program} dead show 7")
    def show(
        number: Number,
        *,
        as_data: AsData = False,
        nats_url: Annotated[str | None, url_option] = None,
        data_dir: DataDir = None,
        config_file: ConfigFile = None,
    ) -> None:
        """Show everything that is known of a letter, and its message."""
        config = queue.load(nats_url, data_dir, config_file)
        found = queue.use(config, lambda letters: letters.show(number))
        typer.echo(as_json(found) if as_data else as_page(found))

    @app.command("retry", epilog=f"Example: {variable}=… {spec.program} dead retry 7 9")
    def retry(
        numbers: Numbers,
        nats_url: Annotated[str | None, url_option] = None,
        data_dir: DataDir = None,
        config_file: ConfigFile = None,
    ) -> None:
        """Send messages again to where they came from, and remove their letters."""

        async def retry_one(letters: DeadLetters, number: int) -> str:
            again = await letters.retry(number)
            return f"{number}: sent to {again.subject} as {again.id}"

        queue.each(numbers, queue.load(nats_url, data_dir, config_file), retry_one)

    @app.command("drop", epilog=f"Example: {variable}=… {spec.program} dead drop 7")
    def drop(
        numbers: Numbers,
        nats_url: Annotated[str | None, url_option] = None,
        data_dir: DataDir = None,
        config_file: ConfigFile = None,
    ) -> None:
        """Remove letters for good."""

        async def drop_one(letters: DeadLetters, number: int) -> str:
            await letters.drop(number)
            return f"{number}: dropped"

        queue.each(numbers, queue.load(nats_url, data_dir, config_file), drop_one)

    return app


class _Queue:
    """The service's dead letters, as its settings say where they are."""

    def __init__(self, spec: ServiceSpec) -> None:
        self._spec = spec
        self._name = spec.name

    def load(self, nats_url: str | None, data_dir: str | None, file: Path | None) -> NatsSettings:
        """The settings, with the address of a queue; ends the command when there is none."""
        settings = get_settings(self._spec, NatsSettings)
        flags = {"nats_url": nats_url, "data_dir": data_dir}
        return load_for(settings, "dead", flags, file)

    def use(self, config: NatsSettings, work: Callable[[DeadLetters], Awaitable[T]]) -> T:
        """Do ``work`` while connected."""
        log = new_logger("warning", stream=sys.stderr)
        bus = NatsBus(config.get_nats_url(), log, name=f"{self._name} dead")
        letters = DeadLetters(bus, stream=dead_letter_stream(replicas=config.nats_replicas))
        return run_once([bus], lambda: work(letters))

    def each(
        self,
        numbers: Sequence[int],
        config: NatsSettings,
        do: Callable[[DeadLetters, int], Awaitable[str]],
    ) -> None:
        """Do it for each number; ends the command with exit code 1 when one failed."""

        async def work(letters: DeadLetters) -> list[str]:
            failures: list[str] = []
            for number in numbers:
                try:
                    typer.echo(printable(await do(letters, number)))
                except Error as exc:
                    failures.append(f"{number}: {chain(exc)}")
            return failures

        if failures := self.use(config, work):
            fail("\n".join(failures))


def as_line(stored: StoredDeadLetter) -> str:
    """The letter as a row of `list`."""
    letter = stored.letter
    reason = " ".join(letter.reason.split())
    cells = (
        stored.number, f"{letter.died_at:%Y-%m-%dT%H:%M:%SZ}", letter.subject, letter.id,
        f"{letter.kind} ({letter.attempts})", f"{reason:.80}",
    )  # fmt: skip
    return "\t".join(printable(str(cell)) for cell in cells)


def as_page(stored: StoredDeadLetter) -> str:
    """All of the letter, its message last."""
    letter = stored.letter
    rows = {
        "number": stored.number,
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
    lines = [printable(f"{name:10} {value}") for name, value in rows.items()]
    data = printable(letter.data.decode(errors="backslashreplace"), keep="\n\t")
    return "\n".join([*lines, "", data])


def as_json(stored: StoredDeadLetter) -> str:
    """The letter as one JSON object."""
    letter = msgspec.to_builtins(stored.letter)
    letter["data"] = stored.letter.data.decode(errors="backslashreplace")
    return printable_json(msgspec.json.encode({"number": stored.number, **letter}).decode())
