"""``myservice records``: many records in from a file, all records out into one.

``import`` may be stopped or killed at any moment: the same command goes on where it was. Progress
goes to stderr, once a second, also while the database is slow. Lines that are no records end up in
a reject file, with their numbers and reasons. What happens in between is ``service.imports`` and
``service.exports``; added to the command line by ``cli``.
"""

import asyncio
import itertools
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Annotated, Final, TypeVar

import msgspec
import typer

from myservice.config import MigrateConfig
from myservice.domain.imports import Format, Import, Tally
from myservice.errands import Archive, build_archive
from paceline.commands import USAGE, fail, load_or_fail
from paceline.concurrency import merge
from paceline.errors import Error, chain
from paceline.lifecycle import Lifecycle
from paceline.log import new_logger

T = TypeVar("T")

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings in a TOML or YAML file.")
]
DatabaseUrl = Annotated[
    str | None, typer.Option("--database-url", metavar="URL", help="PostgreSQL, as for serve.")
]
FormatOption = Annotated[
    str | None, typer.Option("--format", help="ndjson or csv; by the file's ending unless given.")
]
_INTERRUPTED: Final = 130
_FORMATS: Final[dict[str, Format]] = {"ndjson": "ndjson", "jsonl": "ndjson", "csv": "csv"}
_MEBIBYTE: Final = 1 << 20


def records_commands() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(name="records", help="Import and export records.", no_args_is_help=True)
    app.command("import", epilog="Example: APP_DATABASE_URL=… myservice records import all.ndjson")(
        _import
    )
    app.command("export", epilog="Example: APP_DATABASE_URL=… myservice records export all.csv")(
        _export
    )
    return app


def _import(
    file: Annotated[Path, typer.Argument(help="One record a line: name, metadata, data.")],
    *,
    form: FormatOption = None,
    rejects: Annotated[
        Path | None, typer.Option("--rejects", help="Bad lines go here. [default: FILE.rejects]")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Import a file that was imported already.")
    ] = False,
    processes: Annotated[int, typer.Option("--processes", min=1, help="To parse lines.")] = 1,
    database_url: DatabaseUrl = None,
    config_file: ConfigFile = None,
) -> None:
    """Import records from a file. Stopped or killed, the same command goes on where it was.

    Exit code 0: all lines are in; 1: some were rejected.
    """
    if not file.is_file():
        fail(f"{file}: there is no such file", code=USAGE)
    wanted = _format_of(file, form)
    bad = rejects or file.with_name(file.name + ".rejects")

    async def run(archive: Archive) -> Tally:
        begun = await archive.imports.begin(file, wanted, again=again)
        try:
            return await _follow(archive, begun, file, wanted)
        finally:
            await _write_rejects(archive, begun, bad)

    tally = _with_archive(database_url, config_file, run, processes=processes)
    if tally.rejected:
        fail(f"{tally.rejected} lines were rejected: see {bad}")


def _export(
    file: Annotated[Path | None, typer.Argument(help="Where to; stdout unless given.")] = None,
    *,
    form: FormatOption = None,
    database_url: DatabaseUrl = None,
    config_file: ConfigFile = None,
) -> None:
    """Export all records. A file appears when it is complete, and can be imported."""
    wanted = _format_of(file, form)

    async def run(archive: Archive) -> int:
        if file is None:
            return await _copy(archive, wanted, sys.stdout.fileno())
        part = file.with_name(f"{file.name}.part")
        with part.open("wb") as target:
            count = await _copy(archive, wanted, target.fileno())
            os.fsync(target.fileno())
        part.replace(file)
        return count

    count = _with_archive(database_url, config_file, run)
    _say(f"{count:,} records exported")


def _format_of(file: Path | None, form: str | None) -> Format:
    name = form or (file.suffix.removeprefix(".") if file else "ndjson")
    found = _FORMATS.get(name)
    if found is None:
        fail(f"{name or 'no ending'}: say --format ndjson or --format csv", code=USAGE)
    return found


async def _follow(archive: Archive, begun: Import, file: Path, form: Format) -> Tally:
    """Import, and tell how it goes."""
    size = file.stat().st_size  # noqa: ASYNC240 - nobody else waits for this loop
    began, tally = monotonic(), begun.tally
    if tally.resumed:
        _say(f"going on behind {tally.resumed:,} lines that are in already")
    work = archive.imports.run(begun, file, form)
    async with merge(work, _ticks()) as events:
        async for event in events:
            if event is None:
                _show(_progress(tally, size, monotonic() - began))
                continue
            tally = event
            if tally.finished:
                break
    seconds = monotonic() - began
    new = tally.lines - tally.resumed
    _show("")
    _say(
        f"{tally.lines:,} lines, {tally.records:,} records, {tally.rejected:,} rejected;"
        f" {new:,} lines in {seconds:.1f} s: {new / max(seconds, 0.001):,.0f} lines/s"
    )
    return tally


async def _ticks() -> AsyncGenerator[None]:
    for _ in itertools.count():
        await asyncio.sleep(1)
        yield


def _progress(tally: Tally, size: int, seconds: float) -> str:
    rate = (tally.lines - tally.resumed) / max(seconds, 0.001)
    share = min(tally.end / size, 1.0) if size else 1.0
    return (
        f"{share:4.0%} of {size / _MEBIBYTE:,.1f} MiB, {tally.lines:,} lines,"
        f" {tally.rejected:,} rejected, {rate:,.0f} lines/s"
    )


async def _write_rejects(archive: Archive, begun: Import, path: Path) -> None:
    """The whole reject file anew, from what the database holds: nothing doubled, nothing lost."""
    part = path.with_name(f"{path.name}.part")
    count = 0
    with part.open("wb") as file:
        async for reject in archive.imports.rejects(begun):
            file.write(msgspec.json.encode(reject) + b"\n")
            count += 1
    if count:
        part.replace(path)
    else:
        part.unlink()


async def _copy(archive: Archive, form: Format, target: int) -> int:
    count = 0
    with os.fdopen(os.dup(target), "wb") as file:
        async for page in archive.exports.run(form):
            file.write(page.content)
            count += page.records
            _show(f"{count:,} records")
    _show("")
    return count


def _show(line: str) -> None:
    """On a terminal the line replaces the one before it; elsewhere it is a line."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{line}")
    elif line:
        sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _with_archive(
    database_url: str | None,
    file: Path | None,
    use: Callable[[Archive], Awaitable[T]],
    *,
    processes: int = 1,
) -> T:
    config = load_or_fail(MigrateConfig, {"database_url": database_url}, file).config

    async def run() -> T:
        archive = build_archive(config, processes=processes)
        async with Lifecycle(archive.services, new_logger("warning", stream=sys.stderr)):
            return await use(archive)

    try:
        return asyncio.run(run())
    except KeyboardInterrupt:
        fail("stopped; the same command goes on from here", code=_INTERRUPTED)
    except (Error, OSError) as exc:
        fail(chain(exc))
