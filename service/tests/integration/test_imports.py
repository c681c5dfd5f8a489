"""Imports against PostgreSQL: interrupted anywhere, resumed, in exactly once."""

import asyncio
import os
from contextlib import aclosing
from pathlib import Path

import pytest

from myservice.domain.imports import AlreadyImported, Format, ImportRunning, Layout
from myservice.repository.imports import PgImports
from myservice.repository.records import PgRecords
from myservice.service.exports import ExportService
from myservice.service.imports import ImportService
from paceline.clock import SystemClock
from paceline.postgres import Pool, uuid7

pytestmark = pytest.mark.integration
BAD = {3, 8}


@pytest.fixture
def service(pool: Pool) -> ImportService:
    return ImportService(PgImports(pool), SystemClock(), uuid7, layout=Layout(chunk_lines=2))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "records.ndjson"
    lines = ["{" if n in BAD else f'{{"name": "record {n}"}}' for n in range(1, 12)]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def hostile_file(tmp_path: Path) -> Path:
    """A key with a NUL, in a file whose name is no Unicode."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.ndjson"))
    path.write_bytes(b'{"name": "x", "a\\u0000b": 1}\n{"name": "y"}\n')
    return path


async def names(pool: Pool) -> list[str]:
    return [row["name"] for row in await pool.fetch("SELECT name FROM records ORDER BY id")]


@pytest.mark.parametrize("stop_after", range(7))
async def test_an_import_that_was_stopped_after_any_chunk_goes_on_there(
    service: ImportService, pool: Pool, file: Path, stop_after: int
) -> None:
    begun = await service.begin(file, "ndjson")
    async with aclosing(service.run(begun, file, "ndjson")) as run:
        for _ in range(stop_after):
            await anext(run)
    begun = await service.begin(file, "ndjson")
    assert len(begun.done) == min(stop_after, 6)
    tallies = [tally async for tally in service.run(begun, file, "ndjson")]
    last = tallies[-1]
    assert (last.lines, last.records, last.rejected, last.finished) == (11, 9, 2, True)
    assert sorted(await names(pool)) == sorted(f"record {n}" for n in range(1, 12) if n not in BAD)
    assert [reject.line async for reject in service.rejects(begun)] == sorted(BAD)


async def test_a_finished_file_is_imported_again_only_when_asked_to(
    service: ImportService, pool: Pool, file: Path
) -> None:
    for again in (False, True):
        begun = await service.begin(file, "ndjson", again=again)
        async for _ in service.run(begun, file, "ndjson"):
            pass
        assert (await service.begin(file, "ndjson")).id == begun.id
        await service.finish(begun)
        with pytest.raises(AlreadyImported):
            await service.begin(file, "ndjson")
    assert len(await names(pool)) == 18


async def test_a_nul_in_an_unknown_key_or_a_name_that_is_no_unicode_stops_no_import(
    service: ImportService, hostile_file: Path
) -> None:
    begun = await service.begin(hostile_file, "ndjson")
    tallies = [tally async for tally in service.run(begun, hostile_file, "ndjson")]
    assert (tallies[-1].records, tallies[-1].rejected, tallies[-1].finished) == (1, 1, True)
    assert ["a\ufffdb" in reject.error async for reject in service.rejects(begun)] == [True]


async def test_two_that_import_one_file_put_nothing_in_twice(
    service: ImportService, pool: Pool, file: Path
) -> None:
    one, other = await asyncio.gather(*(service.begin(file, "ndjson") for _ in range(2)))
    assert one.id == other.id

    async def run() -> None:
        async for _ in service.run(one, file, "ndjson"):
            pass

    outcomes = await asyncio.gather(run(), run(), return_exceptions=True)
    assert any(isinstance(outcome, ImportRunning) for outcome in outcomes)
    begun = await service.begin(file, "ndjson") if None not in outcomes else None
    if begun is not None:
        async for _ in service.run(begun, file, "ndjson"):
            pass
    assert len(await names(pool)) == 9


async def test_a_file_without_lines_is_an_import_of_nothing(
    service: ImportService, tmp_path: Path
) -> None:
    path = tmp_path / "empty.ndjson"
    path.touch()
    begun = await service.begin(path, "ndjson")
    assert [tally.finished async for tally in service.run(begun, path, "ndjson")] == [True]


@pytest.mark.parametrize("form", ["ndjson", "csv"])
async def test_what_was_exported_can_be_imported(
    service: ImportService, pool: Pool, tmp_path: Path, form: Format
) -> None:
    source = tmp_path / "source.ndjson"
    source.write_text('{"name": "a\\n\\"b\\"", "metadata": {"k": "v,"}, "data": [1, {"x": "y"}]}\n')
    begun = await service.begin(source, "ndjson")
    async for _ in service.run(begun, source, "ndjson"):
        pass
    records = PgRecords(pool)
    path = tmp_path / f"all.{form}"
    pages = [page.content async for page in ExportService(records).run(form)]
    path.write_bytes(b"".join(pages))
    begun = await service.begin(path, form)
    last = [tally async for tally in service.run(begun, path, form)][-1]
    assert (last.records, last.rejected) == (1, 0)
    rows = await pool.fetch("SELECT name, metadata, data::jsonb AS data FROM records")
    assert rows[0]["name"] == rows[1]["name"] == 'a\n"b"'
    assert rows[0]["metadata"] == rows[1]["metadata"]
    assert rows[0]["data"] == rows[1]["data"]
