"""The database's URL, as hosters and other tools write it, in the terms of the driver.

Invariant: a parameter either takes effect, or is known to be without effect here, or is an error
that names it; none is passed on to a server that answers "unrecognized configuration parameter" for
a reason nobody sees. A text of this module holds names of parameters and paths of files, never the
URL's user, password or another value. The driver is not imported: settings are checked fast.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

TARGETS: Final = ("any", "primary", "standby", "prefer-standby", "read-write", "read-only")
"""Values of ``target_session_attrs``, libpq's."""

_SCHEMES: Final = ("postgresql", "postgres")
# fmt: off
_DRIVER: Final = frozenset((
    "host", "port", "dbname", "database", "user", "password", "passfile", "sslmode", "sslcert",
    "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation", "ssl_min_protocol_version",
    "ssl_max_protocol_version", "krbsrvname", "gsslib", "service",
))
# fmt: on
_FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
# libpq's, for what this driver does not do or the pool does otherwise: they change no result.
_WITHOUT_EFFECT: Final = frozenset((
    "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
    "fallback_application_name", "sslcompression", "sslsni", "client_encoding",
))  # fmt: skip
# What is asked for less than strictly is left out; what is demanded and cannot be done is refused.
_OPTIONAL: Final[Mapping[str, tuple[str, ...]]] = {
    "gssencmode": ("disable", "prefer"),
    "channel_binding": ("disable", "prefer"),
    "requiressl": ("0",),
    "replication": ("false", "off", "no", "0"),
}
_OTHER_TOOLS: Final[Mapping[str, str]] = {
    "x-": "golang-migrate",
    "pool_": "pgxpool",
    "default_query_exec_mode": "pgx",
    "statement_cache_capacity": "pgx",
    "description_cache_capacity": "pgx",
    "connection_limit": "Prisma",
    "pool_timeout": "Prisma",
    "schema": "Prisma",
    "sslaccept": "Prisma",
    "sslidentity": "Prisma",
    "socket_timeout": "Prisma",
    "currentSchema": "JDBC",
    "ssl": "JDBC",
    "prepareThreshold": "JDBC",
    "loginTimeout": "JDBC",
    "socketTimeout": "JDBC",
    "ApplicationName": "JDBC",
    "async_fallback": "SQLAlchemy",
    "prepared_statement_cache_size": "SQLAlchemy",
}
_VERSION_TABLE: Final = "schema_migrations"
_PORT: Final = re.compile(r":(\d*)\Z")


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """A database, at one server or one of several.

    ``dsn`` is for the driver. ``hosts``: each server of several with its port, None for the usual
    one; none for a single server. ``target``: ``target_session_attrs``, None if it is not said.
    ``connect_timeout``: seconds for each server. ``shares_sessions``: whether there is a pooler
    before it that gives a session to one client after the other (``pgbouncer=true``, as Prisma and
    hosters write it); None if it is not said. ``server_settings``: parameters of the session, by
    name.
    """

    dsn: str
    hosts: tuple[tuple[str, int | None], ...] = ()
    target: str | None = None
    connect_timeout: float | None = None
    shares_sessions: bool | None = None
    server_settings: tuple[tuple[str, str], ...] = ()

    @property
    def expects_writable(self) -> bool:
        """Whether a server that takes no writes is not the one that is meant."""
        return self.target in (None, "read-write", "primary")


def parse_address(dsn: str) -> DatabaseAddress:
    """Translate a URL.

    Errors: ``ValueError``, whose text is safe to be shown: not a PostgreSQL URL; a parameter that
    is unknown here, that cannot be satisfied, or whose file does not exist.
    """
    try:
        parts = urlsplit(dsn)
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError("the database address is not a PostgreSQL URL") from None
    if parts.scheme not in _SCHEMES:
        raise ValueError("the database address is not a PostgreSQL URL")
    values = dict(query)
    driver = {name: value for name, value in values.items() if name in _DRIVER}
    others = {name: value for name, value in values.items() if name not in _DRIVER}
    target = _pop_target(others)
    timeout = _pop_timeout(others)
    shares_sessions = _pop_pgbouncer(others)
    settings = _session_settings(others)
    _check_files(driver)
    hosts = _split_hosts(parts.netloc.rpartition("@")[2], driver)
    return DatabaseAddress(
        urlunsplit(parts._replace(query=urlencode(driver, quote_via=quote, safe="/"))),
        hosts if len(hosts) > 1 else (),
        target,
        timeout,
        shares_sessions,
        tuple(settings.items()),
    )


def check_database_url(dsn: str) -> None:
    """Refuse a URL with which no connection could be made as it says.

    Errors: ``ValueError``, whose text names parameters and holds no value of the URL but the path
    of a file that is missing.
    """
    parse_address(dsn)


def _pop_target(others: dict[str, str]) -> str | None:
    target = others.pop("target_session_attrs", None)
    if target is not None and target not in TARGETS:
        raise ValueError(f"target_session_attrs is not one of {', '.join(TARGETS)}")
    spread = others.pop("load_balance_hosts", "disable")
    if spread != "disable":
        raise ValueError("load_balance_hosts can only be disable here")
    return target


def _pop_timeout(others: dict[str, str]) -> float | None:
    text = others.pop("connect_timeout", None)
    if text is None:
        return None
    if not text.isdecimal():
        raise ValueError("connect_timeout is not a number of seconds")
    return float(text) or None


def _pop_pgbouncer(others: dict[str, str]) -> bool | None:
    text = others.pop("pgbouncer", None)
    if text not in (None, "true", "false"):
        raise ValueError("pgbouncer is neither true nor false")
    return None if text is None else text == "true"


def _session_settings(others: Mapping[str, str]) -> dict[str, str]:
    """What is left for the session; parameters of the URL that are not known are none."""
    settings: dict[str, str] = {}
    for name, value in others.items():
        if name in _WITHOUT_EFFECT:
            continue
        if name in _OPTIONAL:
            if value not in _OPTIONAL[name]:
                raise ValueError(
                    f"{name} cannot be demanded, since the driver does not do it: leave it out, or"
                    f" say {name}={_OPTIONAL[name][-1]}"
                )
        elif name == "x-migrations-table" and value == _VERSION_TABLE:
            continue
        elif (tool := _tool_of(name)) is not None:
            raise ValueError(f"{name} is a parameter of {tool}, which has no meaning here")
        elif re.fullmatch(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?", name) is None:
            raise ValueError(f"{name!r} is not a parameter of a PostgreSQL URL")
        else:
            settings[name] = value
    return settings


def _tool_of(name: str) -> str | None:
    for known, tool in _OTHER_TOOLS.items():
        if name == known or (known[-1] in "-_" and name.startswith(known)):
            return tool
    return None


def _check_files(driver: Mapping[str, str]) -> None:
    for name in _FILES:
        path = driver.get(name)
        if path and not Path(path).is_file():
            raise ValueError(f"{name} names a file that does not exist: {path}")


def _split_hosts(netloc: str, driver: dict[str, str]) -> tuple[tuple[str, int | None], ...]:
    if netloc:
        return tuple(_host_and_port(unquote(each)) for each in netloc.split(","))
    hosts = driver.get("host", "").split(",")
    if len(hosts) == 1:
        return ()
    ports = driver.get("port", "").split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts):
        raise ValueError("the database address has not one port for each host")
    del driver["host"]
    driver.pop("port", None)
    return tuple((host, _port(port)) for host, port in zip(hosts, ports, strict=True))


def _host_and_port(text: str) -> tuple[str, int | None]:
    if text.startswith("/"):
        return text, None
    found = _PORT.search(text)
    host = text[: found.start()] if found else text
    return host.removeprefix("[").removesuffix("]"), _port(found[1]) if found else None


def _port(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or not 0 < int(text) <= 65535:  # noqa: PLR2004 - the last port
        raise ValueError("the database address has a port that is none")
    return int(text)
