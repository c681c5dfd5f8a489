"""A cache that never fails a request, and rate limits that replicas share, over Redis or Valkey.

`Redis` is the server, which may be unavailable at any time; `CacheAside` is the cache-aside pattern
with an explicit bound on staleness, kept in a `RedisStore`; `SharedLimiter` counts requests over
all replicas. Only this room imports the library ``redis``, which weighs 20 MB and more: it is
imported with `Redis`, and not for the pattern alone. It needs the extra ``paceline[redis]``.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.redis.cache_aside import CacheAside, CacheSettings, CacheStats
    from paceline.redis.cache_store import CacheStore, ChangeKind, EntryChange, Lease
    from paceline.redis.client import Redis, Script
    from paceline.redis.connection_pool import RedisArgument, RedisReply
    from paceline.redis.shared_limiter import SharedLimiter
    from paceline.redis.store import RedisStore
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "CacheAside": "cache_aside",
            "CacheSettings": "cache_aside",
            "CacheStats": "cache_aside",
            "CacheStore": "cache_store",
            "ChangeKind": "cache_store",
            "EntryChange": "cache_store",
            "Lease": "cache_store",
            "Redis": "client",
            "RedisArgument": "connection_pool",
            "RedisReply": "connection_pool",
            "RedisStore": "store",
            "Script": "client",
            "SharedLimiter": "shared_limiter",
        },
        extra="redis",
    )

__all__ = [
    "CacheAside",
    "CacheSettings",
    "CacheStats",
    "CacheStore",
    "ChangeKind",
    "EntryChange",
    "Lease",
    "Redis",
    "RedisArgument",
    "RedisReply",
    "RedisStore",
    "Script",
    "SharedLimiter",
]
