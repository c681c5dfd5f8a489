"""PostgreSQL: reachable, new enough, connections left, durable, writable, clocks and schema right.

One connection and one statement, as the role the service uses, so the rights are its own. Rejected:
anything that needs more than a service's rights, such as the server's configuration files.
"""

from collections.abc import Mapping
from importlib.resources.abc import Traversable
from typing import Any, Final, TypeAlias

from paceline.commands.doctor.findings import Finding, fail, ok, warn
from paceline.commands.doctor.runner import DoctorRun
from paceline.commands.units import duration
from paceline.concurrency import fail_after
from paceline.postgres import connect, describe_dsn, is_pooled
from paceline.postgres.migrate import MigrationState, ResultRow, open_migrator, read_source

_OLDEST: Final = 14
_NAME: Final = "postgres"
_SKEW: Final = 1.0
_BAD_SKEW: Final = 30.0

_Row: TypeAlias = ResultRow | Mapping[str, Any]
"""A decode point: the statement gives the types."""

_QUERY: Final = """
SELECT current_setting('server_version') AS version,
    current_setting('server_version_num')::int / 10000 AS major,
    current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true), '0')::int AS places,
    (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS role_limit,
    (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS database_limit,
    (SELECT coalesce(sum(numbackends), 0)::int FROM pg_stat_database) - 1 AS used,
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('transaction_read_only') = 'on' OR pg_is_in_recovery() AS read_only,
    current_setting('server_encoding') AS encoding,
    current_schema() AS schema,
    coalesce(has_schema_privilege(current_schema(), 'USAGE'), false) AS may_use,
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
    coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS ssl,
    coalesce(host(inet_client_addr()) = host(inet_server_addr()), true) AS same_machine,
    extract(epoch FROM clock_timestamp())::float8 AS now
"""


async def check_postgres(
    dsn: str, run: DoctorRun, *, wanted: int, has_direct: bool = False
) -> list[Finding]:
    """All about the server. ``wanted``: the connections of all processes of this instance.

    ``has_direct``: whether there is another address, without a pooler.

    Errors: `paceline.postgres.DatabaseError` when it cannot be reached within ``run.seconds``.
    """
    clock = run.clock
    began = clock.monotonic()
    connection = await connect(dsn, timeout=run.seconds)
    try:
        connected = clock.monotonic()
        row = await connection.fetchrow(_QUERY)
        ended = clock.monotonic()
        ours = clock.time()
        pooled = await is_pooled(connection)
    finally:
        connection.terminate()  # an orderly close could wait for a server that hangs
    if row is None:
        return [fail(_NAME, "it gave no answer", "look into its log")]
    round_trip = ended - connected
    reached = f"{describe_dsn(dsn)}, connected in {duration(connected - began)}"
    ahead = row["now"] - (ours - round_trip / 2)
    found = assess_server(row, reached, run, wanted=wanted, ahead=ahead, round_trip=round_trip)
    return [*found, _pooler(run, has_direct=has_direct)] if pooled else found


async def check_direct(dsn: str, run: DoctorRun) -> list[Finding]:
    """The address for migrations and notifications. Errors: as `check_postgres`."""
    connection = await connect(dsn, timeout=run.seconds)
    try:
        pooled = await is_pooled(connection)
    finally:
        connection.terminate()
    name, variable = "direct", run.variable("database_direct_url")
    if pooled:
        return [fail(name, f"{describe_dsn(dsn)} is a pooler's", f"the server's in {variable}")]
    return [ok(name, f"{describe_dsn(dsn)}, without a pooler")]


async def check_schema(dsn: str, folder: Traversable, run: DoctorRun) -> list[Finding]:
    """The version of the schema against the migrations in ``folder``. Errors: as `connect`."""
    versions = read_source(folder).versions
    newest = versions[-1] if versions else 0
    async with fail_after(run.seconds, "schema check"), open_migrator(dsn, folder) as migrator:
        state = await migrator.state()
    return [assess_schema(state, newest, program=run.name)]


def assess_server(
    row: _Row, reached: str, run: DoctorRun, *, wanted: int, ahead: float, round_trip: float
) -> list[Finding]:
    """What the server says of itself. ``ahead``: its clock before ours; both in seconds."""
    return [
        _version(row, f"{reached}, PostgreSQL {row['version']}"),
        _connections(row, wanted, run),
        _durability(row),
        _rights(row, run),
        _encryption(row, run),
        _encoding(row),
        _clocks(ahead, round_trip),
    ]


def assess_schema(state: MigrationState, newest: int, *, program: str) -> Finding:
    """The version of the schema against the ``newest`` migration of this build.

    ``program`` is the command that has ``migrate``.
    """
    name = "schema"
    version = "no version" if state.version is None else f"version {state.version}"
    if state.dirty:
        mend = f"repair what is left of it by hand, then: {program} migrate force V"
        return fail(name, f"{version}, and that migration failed half way", mend)
    if (state.version or 0) < newest:
        return fail(name, f"{version}, and this build needs {newest}", f"{program} migrate up")
    if state.version != newest:
        return ok(name, f"{version}, newer than this build's {newest}: fine while rolling out")
    return ok(name, f"{version}, as this build needs")


def _version(row: _Row, reached: str) -> Finding:
    if row["major"] < _OLDEST:
        return fail(_NAME, reached, f"needs PostgreSQL {_OLDEST} or newer")
    return ok(_NAME, reached)


def _connections(row: _Row, wanted: int, run: DoctorRun) -> Finding:
    name = "connections"
    limits = [row["places"], row["role_limit"], row["database_limit"]]
    places = min(limit for limit in limits if limit is not None and limit >= 0)
    left = places - row["used"]
    saw = f"{wanted} wanted, {left} of {places} free"
    if wanted > places:
        mend = f"lower {run.variable('max_db_conns')}, or raise max_connections"
        return fail(name, saw, mend)
    if wanted > left:
        return warn(name, saw, "fine if this service has the others: count all replicas")
    return ok(name, saw)


def _pooler(run: DoctorRun, *, has_direct: bool) -> Finding:
    name = "pooler"
    if has_direct:
        return ok(name, "one in between, so statements have no names; the direct address has none")
    saw = "one in between (PgBouncer): no migrations, and notifications a second late"
    mend = f"the server's own address in {run.variable('database_direct_url')}"
    return warn(name, saw, mend)


def _durability(row: _Row) -> Finding:
    name = "durability"
    off = [setting for setting in ("fsync", "full_page_writes") if row[setting] == "off"]
    if off:
        return fail(name, f"{' and '.join(off)} off", "on, or a crash can lose the whole database")
    if row["synchronous_commit"] == "off":
        saw = "synchronous_commit is off"
        return warn(name, saw, "on, or a crash loses what was acknowledged just before")
    return ok(name, f"fsync on, synchronous_commit {row['synchronous_commit']}")


def _rights(row: _Row, run: DoctorRun) -> Finding:
    name = "rights"
    if row["read_only"]:
        mend = f"name the primary in {run.variable('database_url')}"
        return fail(name, "the server is read-only", mend)
    if row["schema"] is None or not row["may_use"]:
        return fail(name, "no schema that the role may use", "GRANT USAGE, or set search_path")
    if not row["may_create"]:
        saw = f"may not create tables in schema {row['schema']}"
        return warn(name, saw, "fine where another role migrates; else GRANT CREATE ON SCHEMA")
    return ok(name, f"may write, and create tables in schema {row['schema']}")


def _encryption(row: _Row, run: DoctorRun) -> Finding:
    name = "encryption"
    if row["ssl"]:
        return ok(name, "the connection is encrypted")
    if row["same_machine"]:
        return ok(name, "none, and none needed on one machine")
    mend = f"add ?sslmode=verify-full to {run.variable('database_url')}"
    return warn(name, "none, over the network", mend)


def _encoding(row: _Row) -> Finding:
    if row["encoding"] != "UTF8":
        mend = "make the database with ENCODING 'UTF8': others refuse some texts"
        return fail("encoding", str(row["encoding"]), mend)
    return ok("encoding", "UTF8")


def _clocks(ahead: float, round_trip: float) -> Finding:
    """The difference is known to half a round trip."""
    name = "clocks"
    skew = abs(ahead)
    way = "ahead of" if ahead > 0 else "behind"
    saw = f"the database is {duration(skew)} {way} us, known within {duration(round_trip / 2)}"
    mend = "synchronize both clocks (chrony, systemd-timesyncd)"
    if skew - round_trip / 2 > _BAD_SKEW:
        return fail(name, saw, mend)
    return warn(name, saw, mend) if skew - round_trip / 2 > _SKEW else ok(name, saw)
