"""A cache that never fails a request, and limits that replicas share, over Redis or Valkey.

`Redis` is the server, which may be away; `CacheAside` is the cache-aside pattern with an explicit
bound on staleness, on a `RedisStore`; `SharedLimiter` decides about rates. The library ``redis`` is
known here only. Used by a service's ``repository`` code and its ``main``; read ``aside``, then
``store``.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.redis.cache_aside import CacheAside, CacheStats
    from paceline.redis.client import Redis
    from paceline.redis.connection_pool import ConnectionPool
    from paceline.redis.shared_limiter import SharedLimiter
    from paceline.redis.store import Change, Kind, Lease, RedisStore, Store
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "CacheAside": "cache_aside",
            "CacheStats": "cache_aside",
            "Change": "store",
            "ConnectionPool": "connection_pool",
            "Kind": "store",
            "Lease": "store",
            "Redis": "client",
            "RedisStore": "store",
            "SharedLimiter": "shared_limiter",
            "Store": "store",
        },
        extra="redis",
    )

__all__ = [
    "CacheAside",
    "CacheStats",
    "Change",
    "ConnectionPool",
    "Kind",
    "Lease",
    "Redis",
    "RedisStore",
    "SharedLimiter",
    "Store",
]
