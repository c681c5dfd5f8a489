"""All settings of the service: one frozen class, read once, when a command starts.

A setting is a flag, a variable ``APP_<NAME>`` of the environment or of ``.env``, or a key of the
config file, in this order of precedence; the text below each one is its help. All commands read the
same settings. Those that every service has come from the kit, in groups.
"""

from typing import (
    Annotated,
    ClassVar,  # paceline: only redis
)

from myservice.scopes import SCOPES
from paceline.commands import (
    AuthSettings,
    GrpcSettings,  # paceline: only grpc
    HttpSettings,
    NatsSettings,  # paceline: only nats
    PostgresSettings,
    RedisSettings,  # paceline: only redis
)
from paceline.config import (
    Duration,  # paceline: only redis
    PositiveInt,
    numbers_by_name,
)

ScopeLimits = Annotated[tuple[tuple[str, PositiveInt], ...], numbers_by_name(SCOPES)]


class Config(
    HttpSettings,
    GrpcSettings,  # paceline: only grpc
    PostgresSettings,
    NatsSettings,  # paceline: only nats
    RedisSettings,  # paceline: only redis
    AuthSettings,
):
    """The settings."""

    kept_in_redis: ClassVar = ("rate_limit_shared", "cache")  # paceline: only redis

    rate_limits: ScopeLimits = ()
    """Separate limits by scope, over all ways in: records:write=100,records:read=500."""
    # paceline: only full {
    changes_keep: Duration = 3600.0
    """How long changes of records are kept for subscribers who come back with a position."""
    streams_per_caller: PositiveInt = 100
    """How many streams of updates a caller may have open in one process."""
    # paceline: }
    # paceline: only redis {
    cache: bool = False
    """Cache records in Redis."""
    cache_ttl: Duration = 60.0
    """How long a record may stay in the cache."""
    # paceline: }
