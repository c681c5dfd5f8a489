"""What people are told when a process cannot start: sentences that name server, address, setting."""

import asyncio
import errno
import io
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import pytest
from nats.errors import NoServersError

from paceline.commands import GrpcSettings, HttpSettings, PostgresSettings
from paceline.commands.start_failure import (
    ExternalServer,
    could_not_start,
    explain_data_dir,
    explain_server,
    explain_start,
    is_about_server,
    postgres_server,
    server_at,
)
from paceline.commands.start_report import StartReport, named_server
from paceline.commands.wiring import Process
from paceline.config import SecretUrl
from paceline.engines import EngineError
from paceline.errors import Code, Error, chain
from paceline.http import App, HttpServer
from paceline.http.server import listen_error
from paceline.lifecycle import ExitCode, Lifecycle, Service
from paceline.log import new_logger
from paceline.messaging import QueueError
from paceline.postgres import DatabaseError
from paceline.postgres.migrate import DirtyDatabase
from paceline.testing import RecordingLog

DATABASE = ExternalServer(
    kind="PostgreSQL", address="db:5432", variable="APP_DATABASE_URL", database="app"
)
QUEUE = ExternalServer(kind="NATS", address="queue:4222", variable="APP_NATS_URL")


class Config(HttpSettings, GrpcSettings, PostgresSettings):
    """What is named in the sentences."""


def database_error(cause: Exception) -> Error:
    error = DatabaseError(Code.UNAVAILABLE, "cannot connect to database app on db:5432")
    error.__cause__ = cause
    return error


def queue_error(cause: Exception, code: Code = Code.UNAVAILABLE) -> Error:
    error = QueueError(code, "cannot connect to queue:4222: the queue is not reachable")
    error.__cause__ = QueueError(code)
    error.__cause__.__cause__ = cause
    return error


@dataclass(frozen=True)
class Away:
    id: str
    server: ExternalServer
    error: Exception
    says: tuple[str, str]


AWAY = [
    Away("PostgreSQL is down", DATABASE, database_error(ConnectionRefusedError(111, "refused")), (
        "PostgreSQL is not running at db:5432.",
        "Start it, or set APP_DATABASE_URL to the address of one that runs.",
    )),
    Away("down on both addresses of its host", DATABASE,
         database_error(OSError("Multiple exceptions: [Errno 111] a, [Errno 111] b")), (
        "PostgreSQL is not running at db:5432.",
        "Start it, or set APP_DATABASE_URL to the address of one that runs.",
    )),
    Away("no socket", DATABASE, database_error(FileNotFoundError(2, "none")), (
        "PostgreSQL is not running at db:5432.",
        "Start it, or set APP_DATABASE_URL to the address of one that runs.",
    )),
    Away("it does not answer", DATABASE, database_error(TimeoutError()), (
        "PostgreSQL at db:5432 does not answer.",
        "Is the address in APP_DATABASE_URL right, and is there no firewall in between?",
    )),
    Away("no way to it", DATABASE, database_error(OSError(errno.EHOSTUNREACH, "no route")), (
        "PostgreSQL at db:5432 does not answer.",
        "Is the address in APP_DATABASE_URL right, and is there no firewall in between?",
    )),
    Away("its host is not known", DATABASE, database_error(socket.gaierror(-2, "unknown")), (
        "there is no host of the name in APP_DATABASE_URL: db:5432.",
        "Correct the name, or look whether this machine's DNS works.",
    )),
    Away("a wrong password", DATABASE, database_error(asyncpg.InvalidPasswordError("x")), (
        "PostgreSQL at db:5432 refuses the user name or the password.",
        "Correct them in APP_DATABASE_URL.",
    )),
    Away("a wrong user", DATABASE,
         database_error(asyncpg.InvalidAuthorizationSpecificationError("x")), (
        "PostgreSQL at db:5432 refuses the user name or the password.",
        "Correct them in APP_DATABASE_URL.",
    )),
    Away("a wrong database", DATABASE, database_error(asyncpg.InvalidCatalogNameError("x")), (
        "PostgreSQL at db:5432 has no database app.",
        "Create it, or correct the name at the end of APP_DATABASE_URL.",
    )),
    Away("too many connections", DATABASE, database_error(asyncpg.TooManyConnectionsError("x")), (
        "PostgreSQL at db:5432 has no connection left.",
        "Raise its max_connections, or lower the number of connections of its clients.",
    )),
    Away("it is starting up", DATABASE, database_error(asyncpg.CannotConnectNowError("x")), (
        "PostgreSQL at db:5432 is starting up or shutting down.", "Try again in a moment.",
    )),
    Away("something else", DATABASE, database_error(asyncpg.ProtocolViolationError("x")), (
        "PostgreSQL at db:5432 cannot be used: cannot connect to database app on db:5432.",
        "APP_DATABASE_URL says where it is.",
    )),
    Away("NATS is down", QUEUE, queue_error(ConnectionRefusedError(111, "refused")), (
        "NATS is not running at queue:4222.",
        "Start it, or set APP_NATS_URL to the address of one that runs.",
    )),
    Away("NATS wants another login", QUEUE, queue_error(NoServersError(), Code.UNAUTHENTICATED), (
        "NATS at queue:4222 refuses the user name or the password.",
        "Correct them in APP_NATS_URL.",
    )),
    Away("the host of NATS is not known", QUEUE, queue_error(socket.gaierror(-2, "unknown")), (
        "there is no host of the name in APP_NATS_URL: queue:4222.",
        "Correct the name, or look whether this machine's DNS works.",
    )),
]  # fmt: skip


@pytest.mark.parametrize("case", AWAY, ids=lambda case: case.id)
def test_a_server_that_is_away_is_named_with_its_address_and_setting(case: Away) -> None:
    assert is_about_server(case.error)
    assert tuple(explain_server(case.server, case.error)) == case.says


@pytest.mark.parametrize(
    ("url", "address", "database"),
    [
        ("postgresql://ada:hunter2@db:5432/app", "db:5432", "app"),
        ("postgresql://db/app", "db", "app"),
        ("postgresql://db", "db", ""),
        ("postgresql:///app", "", "app"),
        ("postgresql://ada@/app?host=/run/pg&port=5433", "/run/pg:5433", "app"),
        ("postgresql://ada:hunter2/hunter2@db/app", "", ""),
    ],
)
def test_a_database_is_named_without_its_login(url: str, address: str, database: str) -> None:
    server = postgres_server(Config(database_url=SecretUrl(url)))
    assert (server.address, server.database, server.variable) == (
        address, database, "APP_DATABASE_URL",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("nats://ada:hunter2@a:4222,b:4222", "a:4222, b:4222"),
        ("redis://:hunter2@cache:6379/0", "cache:6379"),
        ("unix:///run/redis.sock", "/run/redis.sock"),
        ("nats://ada:hunter2/hunter2@queue", ""),
    ],
)
def test_a_server_is_named_without_its_login(url: str, address: str) -> None:
    assert server_at("NATS", url, "X").address == address


@dataclass(frozen=True)
class Other:
    id: str
    service: str
    error: Exception
    says: tuple[str, ...]


def port_in_use() -> Exception:
    cause = OSError(errno.EADDRINUSE, "in use")
    error = listen_error("127.0.0.1", 8080, cause)
    error.__cause__ = cause
    return error


OTHERS = [
    Other("HTTP's port is taken", "http", port_in_use(), (
        "port 8080 on 127.0.0.1 is in use by another process.",
        "Stop that one, or choose another port: --port or APP_PORT.",
    )),
    Other("gRPC's port is taken", "grpc", port_in_use(), (
        "port 50051 on 127.0.0.1 is in use by another process.",
        "Stop that one, or choose another port: --grpc-port or APP_GRPC_PORT.",
    )),
    Other("the admin port is taken", "admin server (APP_ADMIN_PORT)", port_in_use(), (
        "port 9090 on 127.0.0.1 is in use by another process.",
        "Stop that one, or choose another port: --admin-port or APP_ADMIN_PORT.",
    )),
    Other("the schema is old", "schema",
          Error(Code.FAILED_PRECONDITION, "the schema is at version 2 and this build needs 3"),
          ("the schema is at version 2 and this build needs 3.",)),
    Other("the schema is dirty", "schema", DirtyDatabase(2), (
        f"{DirtyDatabase(2)}.",
    )),
    Other("an engine does not start", "engines", EngineError("NATS was not ready within 30s."),
          ("NATS was not ready within 30s.",)),
    Other("an engine cannot use its folder", "engines", EngineError("the data folder is in use."), (
        "the data folder is in use.",
        "Another data folder can be chosen with --data-dir or APP_DATA_DIR.",
    )),
]  # fmt: skip


@pytest.mark.parametrize("case", OTHERS, ids=lambda case: case.id)
def test_any_other_failure_is_told_in_its_own_words_or_better_ones(case: Other) -> None:
    assert tuple(explain_start(case.service, case.error, Config())) == case.says


def test_a_data_folder_that_cannot_be_used_names_its_setting() -> None:
    error = EngineError("cannot use the data folder /x: Read-only file system")
    assert could_not_start("small", explain_data_dir(error, Config())) == (
        "small could not start: cannot use the data folder /x: Read-only file system.\n"
        "  Another data folder can be chosen with --data-dir or APP_DATA_DIR."
    )


class Told(io.StringIO):
    """A stream that says when something is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Event()

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Part:
    """A service that starts as it is told."""

    def __init__(
        self, name: str, *, error: Exception | None = None, until: asyncio.Event | None = None
    ) -> None:
        self.name = name
        self._error = error
        self._until = until

    async def start(self) -> None:
        if self._until is not None:
            await self._until.wait()
        if self._error is not None:
            raise self._error

    async def stop(self) -> None:
        """Nothing is held."""


async def start(
    services: list[Service],
    needs: list[tuple[object, ExternalServer]],
    stream: io.StringIO,
    log: RecordingLog,
    *,
    patience: float = 60.0,
) -> int:
    """Run the services under a report, until they are ready or one has failed."""
    records = new_logger(stream=io.TextIOWrapper(io.BytesIO()), format="json")
    report = StartReport("small", Config(), records, stream=stream, patience=patience)
    lifecycle = Lifecycle(services, log)
    report.watch(Process(App(), lifecycle, needs=needs))

    def ready() -> None:
        report.ready()
        lifecycle.hand_over()

    return await lifecycle.run(ready, report)


async def test_a_failure_is_told_once_to_people_and_once_to_the_log() -> None:
    stream, log = io.StringIO(), RecordingLog()
    database = Part("database", error=database_error(ConnectionRefusedError(111, "refused")))
    assert await start([database], [(database, DATABASE)], stream, log) == ExitCode.FAILED
    assert stream.getvalue() == (
        "small could not start: PostgreSQL is not running at db:5432.\n"
        "  Start it, or set APP_DATABASE_URL to the address of one that runs.\n"
    )
    assert [event for _, event, _ in log.lines] == ["could not start"]


async def test_what_a_part_itself_refuses_is_not_blamed_on_its_server() -> None:
    stream, log = io.StringIO(), RecordingLog()
    database = Part("database", error=Error(Code.INVALID_ARGUMENT, "25 to 5 connections"))
    await start([database], [(database, DATABASE)], stream, log)
    assert stream.getvalue() == "small could not start: 25 to 5 connections.\n"


async def test_a_server_that_is_waited_for_is_named() -> None:
    stream, log, up = Told(), RecordingLog(), asyncio.Event()
    database = Part("database", until=up)
    needs: list[tuple[object, ExternalServer]] = [(database, DATABASE)]
    starting = asyncio.create_task(start([database], needs, stream, log, patience=0.01))
    await stream.written.wait()
    up.set()
    assert await starting == ExitCode.CLEAN
    assert stream.getvalue() == "Waiting for PostgreSQL at db:5432 (APP_DATABASE_URL).\n"


async def test_a_server_that_one_can_do_without_is_named_when_it_is_away() -> None:
    stream, log = io.StringIO(), RecordingLog()
    asked = asyncio.Event()

    async def ping() -> None:
        asked.set()
        away = RuntimeError("as a client raises it")
        away.__context__ = ConnectionRefusedError()
        raise Error(Code.UNAVAILABLE, "redis is away") from away

    redis = Part("redis")
    server = server_at("Redis", "redis://cache:6379", "APP_REDIS_URL", optional=ping)
    waits = Part("waits")
    assert await start([redis, waits], [(redis, server)], stream, log) == ExitCode.CLEAN
    await asked.wait()
    await asyncio.sleep(0)
    assert stream.getvalue() == (
        "Redis is not running at cache:6379. The service works without it for now"
        " (APP_REDIS_URL).\n"
    )


async def test_on_a_terminal_the_steps_are_one_line_that_is_gone_in_the_end() -> None:
    stream = Terminal()
    written = io.BytesIO()
    records = new_logger(stream=io.TextIOWrapper(written), format="json")
    report = StartReport("small", Config(), records, stream=stream, patience=9)
    report.step("starting NATS 2.15")
    report.step("initialising PostgreSQL 18 in /data")
    assert "starting NATS 2.15, initialising PostgreSQL 18 in /data" in stream.getvalue()
    report.step("NATS 2.15 ready in 0.1s")
    report.step("starting PostgreSQL 18")
    last = stream.getvalue().rpartition("\r")[2]
    assert "starting PostgreSQL 18" in last
    assert "NATS" not in last
    records.warning("in between")
    assert stream.getvalue().endswith("\r\x1b[2K"), "a record of the log gets a line of its own"
    report.step("migrated 000003_things in 3 ms")
    report.close()
    assert stream.getvalue().endswith("\r\x1b[2K")
    assert "\n" not in stream.getvalue()


def test_elsewhere_each_step_is_a_line() -> None:
    stream = io.StringIO()
    records = new_logger(stream=io.TextIOWrapper(io.BytesIO()), format="json")
    report = StartReport("small", Config(), records, stream=stream)
    report.step("starting NATS 2.15")
    report.step("NATS 2.15 ready in 0.1s")
    assert stream.getvalue() == "starting NATS 2.15\nNATS 2.15 ready in 0.1s\n"


async def test_a_command_names_the_server_it_waits_for_and_cannot_reach() -> None:
    stream = Told()
    down = database_error(ConnectionRefusedError(111, "refused"))

    @asynccontextmanager
    async def connection(error: Exception | None) -> AsyncGenerator[str]:
        await stream.written.wait()
        if error is not None:
            raise error
        yield "connected"

    with pytest.raises(Error) as caught:
        async with named_server(DATABASE, connection(down), stream=stream, patience=0.01):
            raise AssertionError
    assert stream.getvalue() == "Waiting for PostgreSQL at db:5432 (APP_DATABASE_URL).\n"
    assert chain(caught.value).startswith(
        "PostgreSQL is not running at db:5432.\n"
        "  Start it, or set APP_DATABASE_URL to the address of one that runs."
    )
    async with named_server(DATABASE, connection(None), stream=stream) as opened:
        assert opened == "connected"


async def test_a_port_that_is_taken_is_found_by_the_real_server() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        server = HttpServer(App(), RecordingLog(), host="127.0.0.1", port=port)
        stream, log = io.StringIO(), RecordingLog()
        assert await start([server], [], stream, log) == ExitCode.FAILED
    assert "is in use by another process.\n  Stop that one" in stream.getvalue()


def test_nothing_of_an_address_is_shown_when_it_cannot_be_read() -> None:
    sentences = explain_server(
        server_at("NATS", "nats://ada:hunter2/x@[", "APP_NATS_URL"), ConnectionRefusedError()
    )
    assert "hunter2" not in " ".join(sentences)
    assert sentences[0] == "NATS is not running."
