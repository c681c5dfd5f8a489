"""A cache that never fails a request, and limits that replicas share, over Redis or Valkey.

`Redis` is the server, which may be away; `Aside` is the cache-aside pattern with an explicit bound
on staleness, on a `RedisStore`; `SharedLimiter` decides about rates. The library ``redis`` is known
here only. Used by a service's ``repository`` code and its ``main``; read ``aside``, then ``store``.
"""

from paceline.redis.cache_aside import Aside, AsideStats
from paceline.redis.client import Redis
from paceline.redis.shared_limiter import SharedLimiter
from paceline.redis.store import Change, Kind, Lease, RedisStore, Store

__all__ = [
    "Aside",
    "AsideStats",
    "Change",
    "Kind",
    "Lease",
    "Redis",
    "RedisStore",
    "SharedLimiter",
    "Store",
]
