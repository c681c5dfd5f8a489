"""What ``serve`` makes of a schema that is not as its code needs it."""

import pytest

from myservice.cli import SERVICE
from paceline.errors import Error
from paceline.postgres import connect
from paceline.postgres.migrate import DirtyDatabase, SchemaCheck, open_migrator, read_source

pytestmark = pytest.mark.integration


def check(dsn: str) -> SchemaCheck:
    return SchemaCheck(dsn, SERVICE.get_migrations(), program="myservice")


async def test_a_current_schema_is_accepted(migrated: str) -> None:
    await check(migrated).start()


async def test_an_old_schema_is_refused_with_what_to_do(database: str) -> None:
    with pytest.raises(Error, match="run myservice migrate up"):
        await check(database).start()


async def test_every_migration_can_be_taken_back_and_made_again(migrated: str) -> None:
    before = await columns_of(migrated)
    async with open_migrator(migrated, SERVICE.get_migrations()) as migrator:
        await migrator.down(len(read_source(SERVICE.get_migrations()).versions))
        assert await columns_of(migrated) == []
        await migrator.up()
    assert before
    assert await columns_of(migrated) == before


async def columns_of(dsn: str) -> list[tuple[str, ...]]:
    """Every column of every table of the service."""
    connection = await connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT table_name::text, column_name::text, data_type::text, is_nullable::text"
            " FROM information_schema.columns WHERE table_schema = 'public'"
            " AND table_name <> 'schema_migrations' ORDER BY 1, 2"
        )
        return [tuple(row) for row in rows]
    finally:
        await connection.close()


async def test_a_half_migrated_schema_is_refused_with_the_way_out(migrated: str) -> None:
    connection = await connect(migrated)
    await connection.execute("UPDATE schema_migrations SET dirty = true")
    await connection.close()
    with pytest.raises(DirtyDatabase, match="force"):
        await check(migrated).start()
    async with open_migrator(migrated, SERVICE.get_migrations()) as migrator:
        await migrator.force(read_source(SERVICE.get_migrations()).versions[-1])
    await check(migrated).start()
