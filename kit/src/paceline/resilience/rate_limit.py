"""Rate limits: a token bucket for each key, in this process.

A bucket is kept as one number, the time at which it will be full again (the "theoretical arrival
time" of the generic cell rate algorithm, virtual scheduling form: ITU-T I.371, annex A). That gives
the same answers as a bucket refilled by a timer, needs no timer, and makes a full bucket equal to
an absent one.

Invariant: in any window of t seconds a key is allowed at most burst + rate * t requests, unless its
bucket was dropped to bound memory (see `RateLimiter`).
"""

import math
from collections import OrderedDict
from collections.abc import Awaitable, Collection, Mapping
from types import MappingProxyType
from typing import Final, Protocol

import msgspec

from paceline.clock import Clock

# Seconds. Sums of floats round: neither the last request of a burst nor a caller that waits for
# exactly `retry_after` may be refused for that. The bucket itself stays exact, so this never adds
# up.
_ROUNDING: Final = 1e-6
_NONE: Final[Mapping[str, "Limiter"]] = MappingProxyType({})


class RateLimitDecision(msgspec.Struct, frozen=True, gc=False):
    """Whether a request is allowed, and what its response says about the limit.

    ``limit``: the size of the bucket; ``remaining``: what is left in it, rounded down; both in
    requests (units of ``cost``). ``reset_after``: seconds until the bucket is full again if nothing
    else is taken; ``retry_after``: seconds until the same request would be allowed, 0 if it was.
    """

    allowed: bool
    limit: float
    remaining: int
    reset_after: float
    retry_after: float


class Limiter(Protocol):
    """Decides at once, as `RateLimiter`, or after a round trip, as a limiter replicas share."""

    def take(self, key: str, /) -> RateLimitDecision | Awaitable[RateLimitDecision]:
        """Take one request from the bucket of ``key``."""
        ...


class RateLimits:
    """One limit for everything, and limits of their own for operations that need certain scopes.

        limits = RateLimits(RateLimiter(clock, rate=50), by_scope={"reports:read": slow})

    An operation that needs a scope of ``by_scope`` counts there only, with the first such scope.
    Scopes are the same over HTTP and gRPC, so an operation has one budget however it is called.
    Everything else counts in ``general``, if there is one, under the name ``group``. Each limit has
    buckets of its own, also where several use the same limiter.
    """

    __slots__ = ("_by_scope", "_general")

    def __init__(
        self,
        general: Limiter | None,
        *,
        group: str = "",
        by_scope: Mapping[str, Limiter] = _NONE,
    ) -> None:
        prefix = f"{group} " if group else ""
        self._general = None if general is None else (prefix, general)
        self._by_scope = {scope: (f"{scope} ", limiter) for scope, limiter in by_scope.items()}

    def limit_for(self, scopes: Collection[str]) -> tuple[str, Limiter] | None:
        """The prefix of the keys and the limiter for an operation that needs ``scopes``.

        None: the operation is not limited.
        """
        for scope, limit in self._by_scope.items():
            if scope in scopes:
                return limit
        return self._general


class RateLimiter:
    """Allows each key ``rate`` requests a second, and ``burst`` at once.

        limiter = RateLimiter(SystemClock(), rate=10)
        if not limiter.take(user).allowed:
            ...

    In Go: ``golang.org/x/time/rate``, with a limiter for each key. ``burst`` is the size of a
    bucket, in requests: at least 1, twice the rate unless given.

    Memory is bounded twice. Buckets that have been idle long enough to be full are dropped as other
    keys arrive. Beyond ``max_keys`` the bucket that has been idle for longest is dropped: since all
    refill at one rate it is, as a rule, the nearest to full, and a key that is being limited is not
    idle. A dropped bucket starts full again; to gain that one burst, a caller must find
    ``max_keys`` others that are busier than itself.

    Not thread-safe: for one event loop. Errors: ``ValueError`` for settings out of range.
    """

    __slots__ = ("_buckets", "_burst", "_clock", "_max_keys", "_now", "_rate", "_window")

    def __init__(
        self, clock: Clock, *, rate: float, burst: float | None = None, max_keys: int = 100_000
    ) -> None:
        if not 0 < rate < math.inf:
            raise ValueError("the rate must be above 0 and finite")
        self._burst = max(1.0, 2.0 * rate) if burst is None else float(burst)
        if not 1 <= self._burst < math.inf:
            raise ValueError("the burst must be at least 1 and finite")
        if max_keys < 1:
            raise ValueError("max_keys must be at least 1")
        self._clock = clock
        self._rate = float(rate)
        self._window = self._burst / rate
        self._max_keys = max_keys
        self._now = -math.inf
        # key → when its bucket is full again; the key that has been idle for longest comes first.
        self._buckets: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """The number of buckets in memory."""
        return len(self._buckets)

    def take(self, key: str, cost: float = 1.0) -> RateLimitDecision:
        """Take ``cost`` requests from the bucket of ``key``, or nothing when it holds fewer.

        Errors: ``ValueError`` when ``cost`` is not positive, or larger than the bucket: it would
        never be allowed.
        """
        if not 0.0 < cost <= self._burst:
            raise ValueError(f"a cost must be above 0 and at most the burst, {self._burst:g}")
        now = self._clock.monotonic()
        if now < self._now:
            # A clock that goes back is taken as standing still: no refill, no penalty.
            now = self._now
        else:
            self._now = now
        buckets = self._buckets
        until_full = 0.0
        full_at = buckets.get(key)
        if full_at is None:
            self._evict(now)
        else:
            buckets.move_to_end(key)
            if full_at > now:
                until_full = full_at - now
        # Relative to now: a full bucket then holds exactly its burst, whatever the time.
        after = until_full + cost / self._rate
        wait = after - self._window
        allowed = wait <= _ROUNDING
        if allowed:
            buckets[key] = now + after
            until_full = after
            wait = 0.0
        remaining = int(self._burst - (until_full - _ROUNDING) * self._rate)
        return RateLimitDecision(allowed, self._burst, remaining, until_full, wait)

    def retry_after(self, key: str) -> float:
        """Seconds until one request of ``key`` would be allowed, 0 if it would be now.

        Nothing is taken.
        """
        full_at = self._buckets.get(key)
        if full_at is None:
            return 0.0
        now = max(self._now, self._clock.monotonic())
        wait = full_at - now + 1.0 / self._rate - self._window
        return wait if wait > _ROUNDING else 0.0

    def _evict(self, now: float) -> None:
        """Before a new key: drop up to two full buckets, and one in any case at the bound."""
        buckets = self._buckets
        for _ in range(2):
            oldest = next(iter(buckets), None)
            if oldest is None or (buckets[oldest] > now and len(buckets) < self._max_keys):
                return
            del buckets[oldest]
