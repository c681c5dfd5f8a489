"""``myservice records``: importing records from a file, and exporting all records.

``import`` may be stopped or killed at any moment; the same command continues. Progress is written
to stderr every second, also while the database is slow. Lines that are not records are written to a
reject file, with their numbers and the reasons.
"""

import asyncio
import itertools
import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from time import monotonic
from typing import Annotated, Final

import msgspec
import typer

from myservice.config import Config
from myservice.domain.imports import Format, Import, Progress
from myservice.repository.imports import PgImports
from myservice.repository.records import PgRecords
from myservice.service.exports import ExportService
from myservice.service.imports import ImportService
from paceline.clock import SystemClock
from paceline.commands import (
    USAGE,
    ConfigFile,
    DatabaseUrl,
    DataDir,
    fail,
    load_for,
    run_once,
    whole_file,
)
from paceline.concurrency import merge
from paceline.postgres import Pool, PoolSettings, uuid7

FormatOption = Annotated[
    str | None, typer.Option("--format", help="ndjson or csv; by the file's ending unless given.")
]
_INTERRUPTED: Final = 130
_FORMATS: Final[dict[str, Format]] = {"ndjson": "ndjson", "jsonl": "ndjson", "csv": "csv"}
_MEBIBYTE: Final = 1 << 20


def records_commands() -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(name="records", help="Import and export records.", no_args_is_help=True)
    app.command("import", epilog="Example: myservice records import all.ndjson")(_import)
    app.command("export", epilog="Example: myservice records export all.csv")(_export)
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
    data_dir: DataDir = None,
    config_file: ConfigFile = None,
) -> None:
    """Import records from a file. Stopped or killed, the same command goes on where it was.

    Exit code 0: all lines are in; 1: some were rejected.
    """
    if not file.is_file():
        fail(f"{file}: there is no such file", code=USAGE)
    wanted = _format_of(file, form)
    rejects_file = rejects or file.with_name(file.name + ".rejects")
    pool = _pool(database_url, data_dir, config_file)
    imports = ImportService(PgImports(pool), SystemClock(), uuid7, processes=processes)

    async def run() -> Progress:
        begun = await imports.begin(file, wanted, again=again)
        try:
            progress = await _import_with_progress(imports, begun, file, wanted)
        finally:
            await _write_rejects(imports, begun, rejects_file)
        await imports.finish(begun)
        return progress

    try:
        progress = run_once([pool], run)
    except KeyboardInterrupt:
        fail("stopped; the same command goes on from here", code=_INTERRUPTED)
    if progress.rejected:
        fail(f"{progress.rejected} lines were rejected: see {rejects_file}")


def _export(
    file: Annotated[Path | None, typer.Argument(help="Where to; stdout unless given.")] = None,
    *,
    form: FormatOption = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config_file: ConfigFile = None,
) -> None:
    """Export all records. A file appears when it is complete, and can be imported."""
    wanted = _format_of(file, form)
    pool = _pool(database_url, data_dir, config_file)
    exports = ExportService(PgRecords(pool))

    async def run() -> int:
        if file is None:
            return await _copy(exports, wanted, sys.stdout.fileno())
        with whole_file(file) as target:
            return await _copy(exports, wanted, target.fileno())

    try:
        count = run_once([pool], run)
    except KeyboardInterrupt:
        fail("stopped", code=_INTERRUPTED)
    _say(f"{count:,} records exported")


def _format_of(file: Path | None, form: str | None) -> Format:
    name = form or (file.suffix.removeprefix(".") if file else "ndjson")
    found = _FORMATS.get(name)
    if found is None:
        fail(f"{name or 'no ending'}: say --format ndjson or --format csv", code=USAGE)
    return found


async def _import_with_progress(
    imports: ImportService, begun: Import, file: Path, form: Format
) -> Progress:
    """Import, and show the progress."""
    size = file.stat().st_size  # noqa: ASYNC240 - nothing else runs on this loop
    began, progress = monotonic(), begun.progress
    if progress.resumed:
        _say(f"going on behind {progress.resumed:,} lines that are in already")
    steps = imports.run(begun, file, form)
    async with merge(steps, _ticks()) as events:
        async for event in events:
            if event is None:
                _show(_progress_line(progress, size, monotonic() - began))
                continue
            progress = event
            if progress.finished:
                break
    seconds = monotonic() - began
    new = progress.lines - progress.resumed
    _show("")
    _say(
        f"{progress.lines:,} lines, {progress.records:,} records, {progress.rejected:,} rejected;"
        f" {new:,} lines in {seconds:.1f} s: {new / max(seconds, 0.001):,.0f} lines/s"
    )
    return progress


async def _ticks() -> AsyncGenerator[None]:
    for _ in itertools.count():
        await asyncio.sleep(1)
        yield


def _progress_line(progress: Progress, size: int, seconds: float) -> str:
    rate = (progress.lines - progress.resumed) / max(seconds, 0.001)
    share = min(progress.end / size, 1.0) if size else 1.0
    return (
        f"{share:4.0%} of {size / _MEBIBYTE:,.1f} MiB, {progress.lines:,} lines,"
        f" {progress.rejected:,} rejected, {rate:,.0f} lines/s"
    )


async def _write_rejects(imports: ImportService, begun: Import, path: Path) -> None:
    """Write the whole reject file from the database, so no line is missing or doubled."""
    rejects = imports.rejects(begun)
    first = await anext(rejects, None)
    if first is None:
        return
    with whole_file(path) as file:
        file.write(msgspec.json.encode(first) + b"\n")
        async for reject in rejects:
            file.write(msgspec.json.encode(reject) + b"\n")


async def _copy(exports: ExportService, form: Format, target: int) -> int:
    count = 0
    with os.fdopen(os.dup(target), "wb") as file:
        async for page in exports.run(form):
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


def _pool(database_url: str | None, data_dir: str | None, file: Path | None) -> Pool:
    flags = {"database_url": database_url, "data_dir": data_dir}
    config = load_for(Config, "migrate", flags, file)
    return Pool(
        config.get_database_url(),
        PoolSettings(min_size=1, max_size=2, application_name="records"),
    )
