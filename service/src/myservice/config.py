"""All settings of the service: one frozen class, read once, when a command starts.

A setting is a flag, a variable ``APP_<NAME>`` of the environment or of ``.env``, or a key of the
config file, in this order of precedence; the text below each one is its help. What is wrong is
told all at once (``paceline.config``), and ``myservice config`` prints what is in effect and where
it came from. Every command reads the same settings, so one file or environment serves all; what a
command cannot do without is its own class at the end. ``main`` wires the service from `Config`.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated

from myservice.scopes import SCOPES
from paceline.auth import secret_weakness
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
    numbers_by_name,
    parsed_by,
)
from paceline.log import Format
from paceline.trace import OTLP_ENDPOINT_FORMAT, parse_otlp_endpoint

OwnLimits = Annotated[tuple[tuple[str, PositiveInt], ...], numbers_by_name(SCOPES)]
TokenSecret = Annotated[Secret, checked_by(secret_weakness, expected="at least 32 random bytes")]
OtlpEndpoint = Annotated[str, parsed_by(parse_otlp_endpoint, expected=OTLP_ENDPOINT_FORMAT)]


class Config(Settings):
    """The settings."""

    database_url: SecretUrl | None = None
    """PostgreSQL, as postgresql://user:password@host:port/name. `run` starts its own without."""
    nats_url: SecretUrl | None = None
    """NATS with JetStream, as nats://user:password@host:port, several with commas."""
    nats_replicas: PositiveInt = 1
    """How many servers of a NATS cluster keep each new stream; 3 outlives the loss of one."""
    redis_url: SecretUrl | None = None
    """Redis or Valkey, as redis://:password@host:port/0 or unix:///path."""
    jwt_secret: TokenSecret | None = None
    """Signs and verifies tokens (HS256): 32 random bytes or more. `run` makes its own without."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all."""
    port: Port = 8080
    """Port of the HTTP server; 0 takes a free one."""
    admin_port: Port = 9090
    """Port of the admin server: metrics, probes, the log's level; 0 takes a free one."""
    admin_host: str = "127.0.0.1"
    """Address of the admin server; other than this machine's own it needs a token."""
    admin_token: TokenSecret | None = None
    """The bearer token that the admin server asks for: 32 random bytes or more."""
    enable_metrics: bool = True
    """Measure requests, and serve /metrics on the admin port."""
    grpc_port: Port = 50051
    """Port of the gRPC server; 0 takes a free one."""
    grpc_connection_age: Duration = 10.0
    """How long a gRPC connection lasts before its client makes another; 0s for ever."""
    grpc_reflection: bool = False
    """Let gRPC tools ask for the protos; always on in `run`."""
    workers: PositiveInt = 1
    """`serve`: processes behind the same ports, about one a core; SIGHUP exchanges them."""
    reuse_port: bool = False
    """Share the ports with other processes of this service; the kernel spreads the connections."""
    read_timeout: Duration = 15.0
    """From the first byte of a request to the end of its body."""
    write_timeout: Duration = 30.0
    """From the end of a request's headers to the end of its response."""
    idle_timeout: Duration = 60.0
    """How long a connection may rest between requests."""
    request_timeout: Duration = 30.0
    """How long a request may take before it is answered with 504; a client may ask for less."""
    shutdown_timeout: Duration = 30.0
    """How long requests in flight may take to finish at shutdown."""
    drain_delay: Duration = 0.0
    """From not being ready any more to not accepting: time for load balancers to notice."""
    keep_alive_grace: Duration = 2.0
    """At shutdown: how long idle connections stay open, for requests on their way."""
    max_body: ByteSize = 1024 * 1024
    """The largest request body."""
    max_db_conns: PositiveInt = 25
    """The most connections to PostgreSQL; several workers share them."""
    jwt_secret_previous: TokenSecret | None = None
    """The token secret before this one, while its tokens are still about."""
    jwks_url: str | None = None
    """Where the public keys of foreign tokens are (JWKS): an https URL, or a file."""
    jwt_issuer: str | None = None
    """The `iss` that tokens must have, if any."""
    jwt_audience: str | None = None
    """The `aud` that tokens must have, if any."""
    token_expiry: Duration = 86400.0
    """How long tokens made by `myservice token` are good."""
    rate_limit: NonNegativeInt = 1000
    """Requests a second for each caller, twice that at once; 0 for no limit."""
    max_in_flight: PositiveInt = 1024
    """The most requests at once, over both doors; what is beyond is refused with 503."""
    shed_delay: Duration = 0.05
    """How long requests may wait on average before some are refused with 503; 0 for ever."""
    rate_limits: OwnLimits = ()
    """Limits apart for what needs a scope, at both doors: orders:write=100,transfers:write=50."""
    rate_limit_shared: bool = False
    """Count requests over all replicas, in Redis; each counts for itself while Redis is away."""
    redis_timeout: Duration = 0.1
    """How long a command to Redis may take, connecting included; then we do without."""
    cache: bool = False
    """Cache records in Redis."""
    cache_ttl: Duration = 60.0
    """How long a record may stay in the cache."""
    trusted_proxies: NetworkList = ()
    """Addresses or networks of proxies whose X-Forwarded-For is believed."""
    log_level: LogLevel = "info"
    """The least important records that are logged."""
    log_format: Format = "auto"
    """json, pretty, or auto: pretty on a terminal."""
    otel_endpoint: OtlpEndpoint | None = None
    """Where traces are sent (OTLP): grpc://host:4317 or http://host:4318, with an s for TLS."""
    trace_ratio: Ratio = 0.1
    """The part of the traces that begin here which is recorded, 0 to 1; others keep their own."""
    data_dir: Path = Path(".data")
    """Where `run` keeps its own engines and secret."""
    pg_port: Port | None = None
    """`run`: let PostgreSQL clients in on this port of 127.0.0.1 too."""

    def get_database_url(self) -> str:
        """The database. Errors: ValueError without one, which the commands below rule out."""
        if self.database_url is None:
            raise ValueError(f"{self.variable('database_url')} is not set")
        return self.database_url.reveal()

    def get_jwt_secret(self) -> str:
        """What signs tokens. Errors: ValueError without one, which the commands below rule out."""
        if self.jwt_secret is None:
            raise ValueError(f"{self.variable('jwt_secret')} is not set")
        return self.jwt_secret.reveal()

    def get_redis_url(self) -> str:
        """The Redis. Errors: ValueError without one, which the commands below rule out."""
        if self.redis_url is None:
            raise ValueError(f"{self.variable('redis_url')} is not set")
        return self.redis_url.reveal()

    def get_nats_url(self) -> str:
        """The queue. Errors: ValueError without one, which the commands below rule out."""
        if self.nats_url is None:
            raise ValueError(f"{self.variable('nats_url')} is not set")
        return self.nats_url.reveal()

    def with_own(
        self,
        *,
        database_url: str,
        jwt_secret: str,
        nats_url: str | None = None,
        redis_url: str | None = None,
    ) -> "Config":
        """These settings on engines and a secret of our own; None leaves what is set."""
        own = {"nats_url": nats_url, "redis_url": redis_url}
        return self.replaced(
            database_url=database_url,
            jwt_secret=jwt_secret,
            **{name: url for name, url in own.items() if url is not None},
        )


class MigrateConfig(Config):
    """The settings of ``migrate``, which needs a database."""

    @classmethod
    def needed(cls, given: Mapping[str, object]) -> Collection[str]:
        """The database."""
        del given
        return ("database_url",)


class WorkerConfig(Config):
    """The settings of ``worker``, which never starts or makes anything."""

    @classmethod
    def needed(cls, given: Mapping[str, object]) -> Collection[str]:
        """The database and the queue."""
        del given
        return ("database_url", "nats_url")


class TokenConfig(Config):
    """The settings of ``token``, which needs a secret to sign with."""

    @classmethod
    def needed(cls, given: Mapping[str, object]) -> Collection[str]:
        """The secret."""
        del given
        return ("jwt_secret",)


class ServeConfig(Config):
    """The settings of ``serve``, which never starts or makes anything."""

    @classmethod
    def needed(cls, given: Mapping[str, object]) -> Collection[str]:
        """The database, a way to verify tokens, and Redis for what lives there.

        Tokens: a secret, or somebody's public keys.
        """
        tokens = () if "jwks_url" in given else ("jwt_secret",)
        in_redis = given.get("cache") or given.get("rate_limit_shared")
        redis = ("redis_url",) if in_redis else ()
        return ("database_url", *tokens, *redis)
