"""Why a process could not start, as sentences: what is wrong, where, and what to do about it.

The log's record of the same failure is for machines: a chain of causes. A person needs to know
which server it is, at which address, and which setting says so. So a part that needs a server is
registered with an `ExternalServer` (`Wiring.add`), and here its failure is told with it; every
other failure is told in the error's own words, which say what to do. Invariant: neither a password
nor a user name is shown.
"""

import errno
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast

import paceline.postgres as postgres_room  # its names are imported when they are used
from paceline.errors import Code, Error
from paceline.health import HealthCheck
from paceline.log import masked, printable, shown_hosts, styled

if TYPE_CHECKING:
    from paceline.commands.settings import PostgresSettings, ServiceSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalServer:
    """A server that a part of the process needs.

    ``kind``: "PostgreSQL". ``address``: host and port, without a login; several with commas.
    ``variable``: the setting that says where it is. ``database``: the name of its database, if it
    has one. ``optional``: the process works without it; checked, and told of, once it is ready.
    """

    kind: str
    address: str
    variable: str
    database: str = ""
    optional: HealthCheck | None = None

    @property
    def place(self) -> str:
        """For sentences: "PostgreSQL at 127.0.0.1:5432"."""
        return f"{self.kind} at {self.address}" if self.address else self.kind


def server_at(
    kind: str, url: str, variable: str, *, optional: HealthCheck | None = None
) -> ExternalServer:
    """The server that ``url`` names. Of a URL that cannot be read only the variable is told."""
    return ExternalServer(kind=kind, address=shown_hosts(url), variable=variable, optional=optional)


Reason: TypeAlias = Literal[
    "down", "silent", "unknown host", "login", "no database", "busy", "starting", "other"
]
_SQLSTATES: Final[dict[str, Reason]] = {
    "28": "login", "3D": "no database", "53": "busy", "57": "starting",
}  # fmt: skip
_TYPES: Final[tuple[tuple[type[BaseException], Reason], ...]] = (
    (socket.gaierror, "unknown host"),
    (ConnectionRefusedError, "down"),
    (FileNotFoundError, "down"),  # a Unix socket
    (TimeoutError, "silent"),
)
_ERRNOS: Final[dict[int, Reason]] = {errno.EHOSTUNREACH: "silent", errno.ENETUNREACH: "silent"}
_REFUSED: Final = f"[Errno {errno.ECONNREFUSED}]"
"""Of a host with several addresses the event loop's error has only the texts of theirs."""
_ABOUT_A_SERVER: Final = frozenset({Code.UNAVAILABLE, Code.UNAUTHENTICATED})


def is_about_server(exc: BaseException) -> bool:
    """Whether a part failed for its server, and not for what is in it."""
    return exc.code in _ABOUT_A_SERVER if isinstance(exc, Error) else isinstance(exc, OSError)


def reason_of(exc: BaseException) -> Reason:
    """Why a server could not be used, by the causes of the error."""
    for each in _causes(exc):
        if (reason := _reason(each)) is not None:
            return reason
    return "other"


def _reason(exc: BaseException) -> Reason | None:
    for kind, reason in _TYPES:
        if isinstance(exc, kind):
            return reason
    if isinstance(exc, OSError):
        return "down" if _REFUSED in str(exc) else _ERRNOS.get(exc.errno or 0)
    if isinstance(exc, Error) and exc.code is Code.UNAUTHENTICATED:
        return "login"
    state: object = getattr(exc, "sqlstate", None)
    return _SQLSTATES.get(state[:2]) if isinstance(state, str) else None


_SERVER_SENTENCES: Final[dict[Reason, tuple[str, str]]] = {
    "down": (
        "{kind} is not running{at}.",
        "Start it, or set {variable} to the address of one that runs.",
    ),
    "silent": (
        "{kind}{at} does not answer.",
        "Is the address in {variable} right, and is there no firewall in between?",
    ),
    "unknown host": (
        "there is no host of the name in {variable}: {address}.",
        "Correct the name, or look whether this machine's DNS works.",
    ),
    "login": (
        "{kind}{at} refuses the user name or the password.",
        "Correct them in {variable}.",
    ),
    "no database": (
        "{kind}{at} has no {database}.",
        "Create it, or correct the name at the end of {variable}.",
    ),
    "busy": (
        "{kind}{at} has no connection left.",
        "Raise its max_connections, or lower the number of connections of its clients.",
    ),
    "starting": ("{kind}{at} is starting up or shutting down.", "Try again in a moment."),
    "other": ("{kind}{at} cannot be used: {words}.", "{variable} says where it is."),
}


def explain_server(server: ExternalServer, exc: BaseException) -> Sequence[str]:
    """What is wrong with ``server``, and what to do: two sentences."""
    values = {
        "kind": server.kind,
        "at": f" at {server.address}" if server.address else "",
        "address": server.address or "not readable",
        "variable": server.variable,
        "database": f"database {server.database}" if server.database else "such database",
        "words": _own_words(exc),
    }
    return [sentence.format(**values) for sentence in _SERVER_SENTENCES[reason_of(exc)]]


@dataclass(frozen=True, slots=True)
class _Port:
    host: str
    port: str


_PORTS: Final = {"http": _Port("host", "port"), "grpc": _Port("host", "grpc_port")}
_ADMIN: Final = _Port("admin_host", "admin_port")


def explain_start(service: str, exc: BaseException, config: "ServiceSettings") -> Sequence[str]:
    """Why a part called ``service`` could not start, in the error's own words or better ones."""
    fields = _ADMIN if service.startswith("admin server") else _PORTS.get(service)
    if fields is not None and _is_in_use(exc):
        host, port = getattr(config, fields.host), getattr(config, fields.port)
        flag = f"--{fields.port.replace('_', '-')}"
        return (
            f"port {port} on {host} is in use by another process.",
            f"Stop that one, or choose another port: {flag} or {config.variable(fields.port)}.",
        )
    if service == "engines" and "data folder" in _own_words(exc):
        return explain_data_dir(exc, config)
    return (f"{_own_words(exc)}.", *getattr(exc, "explanation", ()))


def explain_data_dir(exc: BaseException, config: "ServiceSettings") -> Sequence[str]:
    """Why the engines of ``run`` cannot use the data folder."""
    return (
        f"{_own_words(exc)}.",
        f"Another data folder can be chosen with --data-dir or {config.variable('data_dir')}.",
    )


def told_in_sentences(exc: BaseException) -> bool:
    """Whether the error's text says it all; anything else is a fault of the program."""
    return isinstance(exc, Error | OSError)


def _is_in_use(exc: BaseException) -> bool:
    return any(
        isinstance(each, OSError) and each.errno == errno.EADDRINUSE for each in _causes(exc)
    )


def _own_words(exc: BaseException) -> str:
    text = exc.message if isinstance(exc, Error) else str(exc) or type(exc).__name__
    return masked(text).rstrip(".")


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from; of a group, of each member."""
    link: BaseException | None = exc
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        if isinstance(link, BaseExceptionGroup):
            group = cast(BaseExceptionGroup[BaseException], link)
            for member in group.exceptions:
                yield from _causes(member)
        # A library may raise its own error while it handles the system's, without naming it.
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def could_not_start(program: str, sentences: Iterable[str], *, colours: bool = False) -> str:
    """The sentences as lines for stderr: what is wrong, and below it what to do."""
    first, *others = (printable(each) for each in sentences)
    head = f"{program} could not start:"
    head = styled(head, "bold red") if colours else head
    return "\n".join((f"{head} {first}", *(f"  {line}" for line in others)))


def postgres_server(config: "PostgresSettings") -> ExternalServer:
    """The database's server, to be named. Errors: ValueError without ``database_url``."""
    name, on, address = postgres_room.describe_dsn(config.get_database_url()).rpartition(" on ")
    if not on:
        name, address = address, ""
    return ExternalServer(
        kind="PostgreSQL",
        address=address,
        variable=config.variable("database_url"),
        database=name.removeprefix("database ") if name.startswith("database ") else "",
    )
