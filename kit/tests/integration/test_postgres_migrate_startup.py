"""What the start of a process makes of a schema that is current, old, new or half migrated."""

from pathlib import Path

import pytest

from paceline.errors import Error
from paceline.postgres import connect
from paceline.postgres.migrate import (
    DirtyDatabase,
    MigrationFailed,
    SchemaCheck,
    SchemaUpgrade,
    SourceError,
    Step,
    open_migrator,
)

pytestmark = pytest.mark.integration


class Applied:
    """Implements ``Progress``."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def applied(self, step: Step, seconds: float) -> None:
        self.steps.append(step.file.name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in ((1, "one"), (2, "two")):
        (tmp_path / f"00000{number}_{name}.up.sql").write_text(f"CREATE TABLE {name} ()")
        (tmp_path / f"00000{number}_{name}.down.sql").write_text(f"DROP TABLE {name}")
    return tmp_path


async def test_an_upgrade_applies_what_is_missing_and_then_nothing(
    database: str, folder: Path
) -> None:
    applied = Applied()
    await SchemaUpgrade(database, folder, applied).start()
    await SchemaUpgrade(database, folder, applied).start()
    assert applied.steps == ["one", "two"]


async def test_an_old_schema_is_refused_with_the_command_that_mends_it(
    database: str, folder: Path
) -> None:
    async with open_migrator(database, folder) as migrator:
        await migrator.up(1)
    with pytest.raises(Error, match="at version 1 and this build needs 2: run app migrate up"):
        await SchemaCheck(database, folder, program="app").start()


async def test_a_current_and_a_newer_schema_are_accepted(database: str, folder: Path) -> None:
    await SchemaUpgrade(database, folder).start()
    await SchemaCheck(database, folder, program="app").start()
    for direction in ("up", "down"):
        (folder / f"000002_two.{direction}.sql").unlink()
    await SchemaCheck(database, folder, program="app").start()


async def test_a_half_migrated_schema_is_refused(database: str, folder: Path) -> None:
    await SchemaUpgrade(database, folder).start()
    connection = await connect(database)
    await connection.execute("UPDATE schema_migrations SET dirty = true")
    await connection.close()
    with pytest.raises(DirtyDatabase, match="force"):
        await SchemaCheck(database, folder, program="app").start()


async def test_a_folder_that_is_not_there_is_an_error(database: str, folder: Path) -> None:
    with pytest.raises(SourceError, match="no folder of migrations"):
        await SchemaUpgrade(database, folder / "other").start()


async def test_in_development_a_migration_that_failed_is_tried_again_once_it_is_mended(
    database: str, folder: Path
) -> None:
    broken = folder / "000003_three.up.sql"
    broken.write_text("CREATE TABLE three (); SELECT nope")
    upgrade = SchemaUpgrade(database, folder, retry=True)
    with pytest.raises(MigrationFailed):
        await upgrade.start()
    with pytest.raises(MigrationFailed) as failed:
        await upgrade.start()
    assert failed.value.explanation[-1].startswith("it changed nothing")
    broken.write_text("CREATE TABLE three ()")
    await upgrade.start()
    async with open_migrator(database, folder) as migrator:
        assert (await migrator.state()).version == 3


@pytest.mark.parametrize(
    "sql", ["BEGIN; CREATE TABLE three (); COMMIT; SELECT nope", "VACUUM nope"], ids=["ends", "outside"]
)  # fmt: skip
async def test_a_migration_that_may_have_changed_something_stays_dirty(
    database: str, folder: Path, sql: str
) -> None:
    (folder / "000003_three.up.sql").write_text(sql)
    upgrade = SchemaUpgrade(database, folder, retry=True)
    with pytest.raises(MigrationFailed):
        await upgrade.start()
    with pytest.raises(DirtyDatabase):
        await upgrade.start()
