"""A real PostgreSQL for tests: an empty database for each test, or a copy of a migrated template.

The server is not durable, which makes it fast, so nothing here is for production. Independent of
pytest.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

from paceline.engines import PostgresEngine
from paceline.postgres import connect
from paceline.testing.logs import SilentLog

_FAST: Final[Mapping[str, str]] = MappingProxyType(
    {
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "autovacuum": "off",
        "max_wal_size": "128MB",
    }
)
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - tempfile makes the folder in it
_MIN_FREE: Final = 1 << 30
_PREFIX: Final = "paceline-test-"


@contextmanager
def scratch_folder() -> Generator[Path]:
    """A folder for a test's server; in memory when a GiB is free.

    A database is three hundred small files, which some file systems need half a second to create;
    memory needs a hundredth of that.

    *Resources*: the folder. A killed session leaves it behind, and the next one removes it.
    """
    in_memory = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _MIN_FREE
    place = _MEMORY if in_memory else Path(tempfile.gettempdir())
    _remove_abandoned(place)
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=place) as name:
        yield Path(name)


def _remove_abandoned(place: Path) -> None:
    for folder in place.glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)  # one of another account stays


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def new_test_postgres(folder: Path) -> PostgresEngine:
    """A server on ``folder`` that loses data when the machine stops. Not started.

    It may be started in one event loop and stopped in another: ``asyncio.run(server.start())`` in
    a session's fixture, in the main thread.
    """
    return PostgresEngine(SilentLog(), data_dir=folder, options=_FAST)


async def create_database(server: PostgresEngine, *, template: str = "template0") -> str:
    """Create a database with a random name and return the name, for ``server.dsn``."""
    name = f"test_{secrets.token_hex(6)}"
    await _administer(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    return name


async def drop_database(server: PostgresEngine, name: str) -> None:
    """Drop it, and end the connections to it."""
    await _administer(server, f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def fresh_database(
    server: PostgresEngine, *, template: str = "template0"
) -> AsyncGenerator[str]:
    """The DSN of a new database.

    *Resources*: the database, which is dropped at the end of the block.
    """
    name = await create_database(server, template=template)
    try:
        yield server.dsn(name)
    finally:
        await drop_database(server, name)


class TemplateDatabase:
    """A database that is prepared once and copied for each test.

    ``prepare`` gets its DSN, usually to migrate it, and must close its connections: PostgreSQL does
    not copy a database that is in use.

        template = TemplateDatabase(postgres, migrate)
        await template.create()
        async with template.clone() as dsn:
            ...

    *Resources*: the template, until the server's folder is removed.
    """

    def __init__(self, server: PostgresEngine, prepare: Callable[[str], Awaitable[object]]) -> None:
        self._server = server
        self._prepare = prepare
        self._name = ""

    async def create(self) -> None:
        """Create the template. To be called once."""
        name = await create_database(self._server)
        await self._prepare(self._server.dsn(name))
        self._name = name

    @asynccontextmanager
    async def clone(self) -> AsyncGenerator[str]:
        """The DSN of a copy.

        *Resources*: the copy, which is dropped at the end of the block.
        """
        if not self._name:
            raise RuntimeError("create() the template before cloning it")
        async with fresh_database(self._server, template=self._name) as dsn:
            yield dsn


async def _administer(server: PostgresEngine, statement: str) -> None:
    connection = await connect(server.dsn())
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
