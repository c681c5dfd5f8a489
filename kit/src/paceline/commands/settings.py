"""The settings that every service has, in groups; a service's configuration class joins them.

``class Config(HttpSettings, PostgresSettings, AuthSettings)`` has the fields of all groups that it
names, and adds its own. What a command cannot do without is said by the group that has
the field (`ServiceSettings.needed_by`), so a command lists everything that is missing at once, and
a service without a queue is never asked for one. Docstrings below fields are their help texts, the
beginning of a class's docstring is the heading of its options in ``--help``.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, TypeAlias

import paceline.grpc as grpc_room  # of extras: their names are imported when used
import paceline.postgres as postgres_room
from paceline.auth import secret_weakness
from paceline.commands.tls_fields import ADMIN, PUBLIC, TLS_FIELDS
from paceline.config import (
    ByteSize,
    Duration,
    LogLevel,
    NetworkList,
    NonNegativeInt,
    Port,
    PositiveInt,
    Ratio,
    Secret,
    SecretUrl,
    Settings,
    checked_by,
    checked_url,
    format_duration,
    parsed_by,
)
from paceline.errors import Code, Error
from paceline.log import Format
from paceline.trace import OTLP_ENDPOINT_FORMAT, parse_otlp_endpoint

TokenSecret = Annotated[Secret, checked_by(secret_weakness, expected="at least 32 random bytes")]
OtlpEndpoint = Annotated[
    str, parsed_by(parse_otlp_endpoint, expected=OTLP_ENDPOINT_FORMAT, metavar="URL")
]


def _check_database_url(url: str) -> None:
    postgres_room.check_database_url(url)


DatabaseUrl = Annotated[
    SecretUrl,
    checked_url(
        "postgresql",
        "postgres",
        expected='a URL like "postgresql://user:password@host:port/name"',
        check=_check_database_url,
    ),
]


def _read_origins(text: str) -> object:
    return grpc_room.read_origins(text)


Origins = Annotated[
    str,
    parsed_by(
        _read_origins,
        expected='origins like "https://app.example", several with commas, or "*"',
        metavar="ORIGINS",
    ),
]
NatsUrls = Annotated[
    SecretUrl,
    checked_url(
        "nats",
        "tls",
        "ws",
        "wss",
        several=True,
        expected='a URL like "nats://user:password@host:port", several with commas',
    ),
]
RedisUrl = Annotated[
    SecretUrl,
    checked_url(
        "redis",
        "rediss",
        "unix",
        expected='a URL like "redis://:password@host:port/0", "rediss://…" or "unix:///path"'
        " (of Valkey, too)",
    ),
]
Command: TypeAlias = Literal[
    "run", "serve", "worker", "migrate", "dead", "token", "psql", "seed", "config"
]
"""A command that reads the settings."""


class ProcessSettings(Settings):
    """The processes."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all."""
    reuse_port: bool = False
    """Share the ports with other processes of this service; the kernel spreads the connections."""
    workers: PositiveInt = 1
    """`serve`: processes behind the same ports, about one a core; SIGHUP replaces them."""
    worker_timeout: Duration = 6.0
    """`serve`: a worker whose event loop does not run for so long is replaced; 0s for never."""
    shutdown_timeout: Duration = 30.0
    """How long requests in flight may take to finish at shutdown."""
    drain_delay: Duration = 0.0
    """From not being ready any more to not accepting: time for load balancers to notice."""
    data_dir: Path = Path(".data")
    """Where `run` keeps its own engines and secret, and where other commands find it."""


class LimitSettings(Settings):
    """Limits."""

    request_timeout: Duration = 30.0
    """How long a request may take before it is answered with 504; a client may ask for less."""
    max_body: ByteSize = 1024 * 1024
    """The largest request body."""
    max_in_flight: PositiveInt = 1024
    """The most requests at once, HTTP and gRPC together; what is beyond is refused with 503."""
    shed_delay: Duration = 0.05
    """How long requests may wait on average before some are refused with 503; 0 for ever."""


class AdminSettings(Settings):
    """The admin port."""

    admin_port: Port = 9090
    """Port of the admin server: metrics, probes, the log's level; 0 takes a free one."""
    admin_host: str = "127.0.0.1"
    """Address of the admin server; other than this machine's own it needs a token."""
    admin_token: TokenSecret | None = None
    """The bearer token that the admin server requires: 32 random bytes or more."""
    enable_metrics: bool = True
    """Measure requests, and serve /metrics on the admin port."""
    admin_tls_cert: Path | None = None
    """Certificate of the admin port (PEM, with intermediates), which speaks TLS then."""
    admin_tls_key: Path | None = None
    """Key of that certificate (PEM, without a passphrase)."""
    admin_tls_client_ca: Path | None = None
    """Who signs the certificates that clients of the admin port must have (PEM)."""


class TelemetrySettings(Settings):
    """Logs and traces."""

    log_level: LogLevel = "info"
    """The least important records that are logged."""
    log_format: Format = "auto"
    """json, pretty, or auto: pretty on a terminal."""
    log_source: bool = False
    """Show file and line with every line of a pretty log, and not only from warning on."""
    otel_endpoint: OtlpEndpoint | None = None
    """Where traces are sent (OTLP): grpc://host:4317 or http://host:4318, an s for TLS."""
    trace_ratio: Ratio = 0.1
    """The part of the traces that begin here which is recorded, 0 to 1; others keep their own."""
    trace_limit: NonNegativeInt = 1000
    """Requests and messages a second that are recorded as their sender asks; 0 for no limit."""


class ServiceSettings(ProcessSettings, LimitSettings, AdminSettings, TelemetrySettings):
    """What every process of a service has: limits, stopping, logs, traces, admin port."""

    @classmethod
    def needed_by(cls, command: Command, given: Mapping[str, object]) -> Collection[str]:
        """Fields that ``command`` cannot do without, in view of those that are ``given``."""
        return _needed_tls(ADMIN, given) if command in _PROCESSES else ()

    @classmethod
    def problems_for(cls, command: Command, given: Mapping[str, object]) -> Mapping[str, str]:
        """What is wrong with what is ``given``, by field, beyond its type: with files, for one."""
        return _tls_problems(ADMIN, given) if command in _PROCESSES else {}

    @property
    def scheme(self) -> Literal["http", "https"]:
        """Of the URLs of the HTTP server."""
        return "http"

    def get_admin_token(self) -> str | None:
        """The admin server's token, if it has one."""
        return None if self.admin_token is None else self.admin_token.reveal()


class TlsSettings(ServiceSettings):
    """TLS of HTTP and gRPC."""

    tls_cert: Path | None = None
    """Certificate of HTTP and gRPC (PEM, with intermediates), which speak TLS then."""
    tls_key: Path | None = None
    """Key of that certificate (PEM, without a passphrase)."""
    tls_client_ca: Path | None = None
    """Who signs the certificates that clients must have (PEM); without it they need none."""

    @property
    def scheme(self) -> Literal["http", "https"]:
        """Of the URLs of the HTTP server."""
        return "http" if self.tls_cert is None else "https"

    @classmethod
    def needed_by(cls, command: Command, given: Mapping[str, object]) -> Collection[str]:
        """A certificate and its key, if there is one of them."""
        needed = super().needed_by(command, given)
        return (*needed, *_needed_tls(PUBLIC, given)) if command in _SERVING else needed

    @classmethod
    def problems_for(cls, command: Command, given: Mapping[str, object]) -> Mapping[str, str]:
        """Files that cannot be used."""
        found = super().problems_for(command, given)
        return {**found, **_tls_problems(PUBLIC, given)} if command in _SERVING else found


class HttpSettings(TlsSettings):
    """The HTTP server."""

    port: Port = 8080
    """Port of the HTTP server; 0 takes a free one."""
    read_timeout: Duration = 15.0
    """From the first byte of a request to the end of its body."""
    write_timeout: Duration = 30.0
    """From the end of a request's headers to the end of its response."""
    idle_timeout: Duration = 60.0
    """How long a connection may be idle between requests."""
    keep_alive_grace: Duration = 2.0
    """At shutdown: how long idle connections stay open, for requests on their way."""
    trusted_proxies: NetworkList = ()
    """Addresses or networks of proxies whose X-Forwarded-For (or Forwarded) is believed."""


class GrpcSettings(TlsSettings):
    """The gRPC server."""

    grpc_port: Port = 50051
    """Port of the gRPC server; 0 takes a free one."""
    grpc_connection_age: Duration = 10.0
    """How long a gRPC connection lasts before its client makes another; 0s for ever."""
    grpc_reflection: bool = False
    """Let gRPC tools read the protos; always on in `run`."""
    grpc_cors_origins: Origins = ""
    """Sites whose pages may call gRPC's methods (gRPC-Web, Connect); "*" for all."""


class AuthSettings(ServiceSettings):
    """Tokens and rate limits: who signs, what tokens must say, how often their owners may call."""

    jwt_secret: TokenSecret | None = None
    """Signs and verifies tokens (HS256): 32 random bytes or more. `run` makes its own without."""
    jwt_secret_previous: TokenSecret | None = None
    """The token secret before this one, while its tokens are still in use."""
    jwks_url: str | None = None
    """Where the public keys of foreign tokens are (JWKS): an https URL, or a file."""
    jwt_issuer: str | None = None
    """The `iss` that tokens must have; required beside a JWKS."""
    jwt_audience: str | None = None
    """The `aud` that tokens must have; required beside a JWKS."""
    jwt_any_issuer: bool = False
    """Accept what the keys of the JWKS have signed for any issuer; callers are "issuer subject"."""
    jwt_any_audience: bool = False
    """Accept what the keys of the JWKS have signed for any audience, other services included."""
    token_expiry: Duration = 86400.0
    """How long tokens made by `token` are valid."""
    rate_limit: NonNegativeInt = 1000
    """Requests a second for each caller, twice that at once; 0 for no limit."""
    auth_failure_limit: NonNegativeInt = 20
    """Requests a second without a valid token from an address, twice that at once; 0: no limit."""

    @classmethod
    def needed_by(cls, command: Command, given: Mapping[str, object]) -> Collection[str]:
        """A secret to sign with; to verify, somebody's public keys do as well."""
        needed = super().needed_by(command, given)
        if command == "token" or (command == "serve" and "jwks_url" not in given):
            return (*needed, "jwt_secret")
        return needed

    @classmethod
    def problems_for(cls, command: Command, given: Mapping[str, object]) -> Mapping[str, str]:
        """A JWKS whose tokens may be anybody's, or for any service, without a word that says so."""
        found = super().problems_for(command, given)
        if command in _SERVING and "jwks_url" in given:
            return {**found, **cls.jwks_problems(given)}
        return found

    @classmethod
    def jwks_problems(cls, given: Mapping[str, object]) -> Mapping[str, str]:
        """What is wrong with the settings of a JWKS, by field."""
        open_claims = [
            claim
            for claim in ("issuer", "audience")
            if not given.get(f"jwt_{claim}") and not given.get(f"jwt_any_{claim}")
        ]
        if not open_claims:
            return {}
        wanted = " and ".join(cls.variable(f"jwt_{claim}") for claim in open_claims)
        switches = " and ".join(f"{cls.variable(f'jwt_any_{claim}')}=true" for claim in open_claims)
        return {
            "jwks_url": f"tokens of any {' and any '.join(open_claims)} would be accepted;"
            f" set {wanted}, or {switches} if that is meant"
        }

    def get_jwt_secret(self) -> str:
        """What signs tokens. Errors: ValueError without one."""
        return _given(self, "jwt_secret", self.jwt_secret)


class PostgresSettings(ServiceSettings):
    """The database."""

    database_url: DatabaseUrl | None = None
    """PostgreSQL, as postgresql://user:password@host:port/name. `run` starts its own without."""
    database_direct_url: DatabaseUrl | None = None
    """PostgreSQL without the pooler of database_url, for migrations and notifications."""
    max_db_conns: PositiveInt = 25
    """The most connections to PostgreSQL; several workers share them."""
    idempotency_keep: Duration = 7 * 86400.0
    """How long an Idempotency-Key and its answer are kept; the same key is a new one after that."""
    migrate_lock_timeout: Duration = 1.0
    """How long a migration waits for a lock before it gives way and tries again; 0s for ever."""
    migrate_lock_wait: Duration = 600.0
    """How long a migration tries again before it gives up, with nothing changed."""
    pg_port: Port | None = None
    """`run`: a port of 127.0.0.1 on which PostgreSQL clients can connect, too."""

    @classmethod
    def needed_by(cls, command: Command, given: Mapping[str, object]) -> Collection[str]:
        """The database, for whatever works with it."""
        needed = super().needed_by(command, given)
        return (*needed, "database_url") if command in _ON_A_DATABASE else needed

    def get_database_url(self) -> str:
        """The database. Errors: ValueError without one."""
        return _given(self, "database_url", self.database_url)

    def get_direct_url(self) -> str:
        """The database, by its own address if there is one. Errors: ValueError without any."""
        direct = self.database_direct_url
        return self.get_database_url() if direct is None else direct.reveal()


class NatsSettings(ServiceSettings):
    """The message queue."""

    nats_url: NatsUrls | None = None
    """NATS with JetStream, as nats://user:password@host:port, several with commas."""
    nats_replicas: PositiveInt = 1
    """How many servers of a NATS cluster keep each new stream; 3 outlives the loss of one."""
    queue_keep: Duration = 7 * 86400.0
    """How long messages stay in the queue once all consumers have handled them; 0s for ever."""
    dead_letter_keep: Duration = 90 * 86400.0
    """How long dead letters wait for somebody to look at them; 0s for ever."""
    inbox_keep: Duration = 30 * 86400.0
    """How long the ids of handled messages are kept, so that a redelivery has no second effect."""

    @classmethod
    def needed_by(cls, command: Command, given: Mapping[str, object]) -> Collection[str]:
        """The queue, for a worker and for dead letters."""
        needed = super().needed_by(command, given)
        return (*needed, "nats_url") if command in _ON_A_QUEUE else needed

    def get_nats_url(self) -> str:
        """The queue. Errors: ValueError without one."""
        return _given(self, "nats_url", self.nats_url)


class RedisSettings(ServiceSettings):
    """Redis: limits that replicas share, and whatever else a service keeps there."""

    redis_url: RedisUrl | None = None
    """Redis or Valkey, as redis://:password@host:port/0 or unix:///path."""
    redis_timeout: Duration = 0.1
    """How long a command to Redis may take, connecting included; then we do without."""
    rate_limit_shared: bool = False
    """Count requests over all replicas, in Redis; each counts for itself while Redis is away."""
    kept_in_redis: ClassVar[Collection[str]] = ("rate_limit_shared",)
    """The switches whose data live in Redis; a service with more of them names all."""

    @classmethod
    def needed_by(cls, command: Command, given: Mapping[str, object]) -> Collection[str]:
        """Redis, when something is kept there."""
        needed = super().needed_by(command, given)
        uses = any(given.get(switch) for switch in cls.kept_in_redis)
        return (*needed, "redis_url") if command == "serve" and uses else needed

    @property
    def uses_redis(self) -> bool:
        """Whether anything is kept there."""
        return any(getattr(self, switch) for switch in self.kept_in_redis)

    def get_redis_url(self) -> str:
        """Redis. Errors: ValueError without one."""
        return _given(self, "redis_url", self.redis_url)


_MIN_WORKER_TIMEOUT: Final = 3.0
LISTENERS: Final = {"http": "port", "grpc": "grpc_port"}
"""The settings of the ports that a service serves on, by the name of the server."""


def ports_of(config: ServiceSettings) -> dict[str, int]:
    """The ports of the servers that there are settings for, by their names in `LISTENERS`."""
    return {
        server: getattr(config, field)
        for server, field in LISTENERS.items()
        if field in type(config).model_fields
    }


def require_own_ports(config: ServiceSettings) -> None:
    """Refuse one port for two servers of a process. Errors: Error(FAILED_PRECONDITION)."""
    taken: dict[int, str] = {}
    for name in ("port", "grpc_port", "admin_port"):
        port: int = getattr(config, name, 0)
        if port in taken:
            both = f"{config.variable(taken[port])} and {config.variable(name)}"
            raise Error(
                Code.FAILED_PRECONDITION, f"{both} are both {port}; give each server its own port"
            )
        if port:
            taken[port] = name


def require_worker_timeout(config: ServiceSettings) -> None:
    """Refuse a time in which a healthy worker may be silent. Errors: Error(FAILED_PRECONDITION)."""
    if 0 < config.worker_timeout < _MIN_WORKER_TIMEOUT:
        raise Error(
            Code.FAILED_PRECONDITION,
            f"{config.variable('worker_timeout')} is {format_duration(config.worker_timeout)}; give"
            " it at least 3s, since workers show once a second that they run, or 0s for never",
        )


def require_settings(config: object, caller: str, *groups: type[ServiceSettings]) -> None:
    """Refuse settings that lack one of ``groups``, of which ``caller`` reads the fields.

    Type checkers see it, too. Errors: Error(FAILED_PRECONDITION).
    """
    name = type(config).__name__
    for group in groups:
        if isinstance(config, group):
            continue
        if isinstance(config, ServiceSettings):
            problem = f"add {group.__name__} to the bases of {name}"
        else:
            problem = f"it got {name}; write {caller}(wiring, config)"
        raise Error(Code.FAILED_PRECONDITION, f"{caller} needs {group.__name__}: {problem}")


_PROCESSES: Final = ("run", "serve", "worker")
_SERVING: Final = ("run", "serve")
_ON_A_DATABASE: Final = ("serve", "worker", "migrate", "psql", "seed")
_ON_A_QUEUE: Final = ("worker", "dead")


def _needed_tls(prefix: str, given: Mapping[str, object]) -> Collection[str]:
    files = [f"{prefix}{name}" for name in TLS_FIELDS]
    return files[:2] if any(given.get(each) is not None for each in files) else ()


def _tls_problems(prefix: str, given: Mapping[str, object]) -> Mapping[str, str]:
    if given.get(f"{prefix}cert") is None:
        return {}
    from paceline.commands.tls import find_tls_problems  # noqa: PLC0415 - --help can spare ssl

    return find_tls_problems(given, prefix)


def _given(settings: Settings, field: str, value: Secret | SecretUrl | None) -> str:
    if value is None:
        raise ValueError(f"{settings.variable(field)} is not set")
    return value.reveal()
