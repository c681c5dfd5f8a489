"""Rate limits as a value: a token bucket per key, in this process.

The bucket is kept as one number, the time at which it will be full again (the "theoretical arrival
time" of the generic cell rate algorithm, virtual scheduling form: ITU-T I.371, annex A), which
gives the same answers as a bucket refilled by a timer, needs no timer, and makes a full bucket the
same as an absent one. Invariant: in any window of t seconds a key is allowed at most burst + rate *
t, unless it was forgotten to bound memory (see `RateLimiter`). `RateLimits` says which limiter
counts what. Used by the rate limits of both doors (``web.middleware``, ``rpc.interceptors``), which
tell the caller the numbers.
"""

import math
from collections import OrderedDict
from collections.abc import Awaitable, Collection, Mapping
from types import MappingProxyType
from typing import Final, Protocol

import msgspec

from paceline.clock import Clock

# Seconds. Sums of floats round: the last request of a burst, and who waits exactly `retry_after`,
# must not be refused for it. The bucket's own account stays exact, so this never adds up.
_SLACK = 1e-6
_NONE: Final[Mapping[str, "Limiter"]] = MappingProxyType({})


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The answer to one `RateLimiter.take`.

    ``limit`` is the bucket's size and ``remaining`` what is left in it, rounded down, both in
    requests (units of ``cost``). ``reset_after`` is the seconds until the bucket is full again if
    nothing else is taken; ``retry_after`` the seconds until the same take would succeed, 0 when
    it was allowed.
    """

    allowed: bool
    limit: float
    remaining: int
    reset_after: float
    retry_after: float


class Limiter(Protocol):
    """Who decides, at once or in a moment: `RateLimiter`, or one that replicas share."""

    def take(self, key: str, /) -> Decision | Awaitable[Decision]:
        """Take one request from the bucket of ``key``."""
        ...


class RateLimits:
    """One limit for everything, and others for what needs certain scopes.

    An operation that needs a scope of ``own`` counts there and nowhere else; of several, the first
    counts. A scope is named alike at every door, so an operation has one budget however it is
    asked for. Everything else counts in ``general``, if there is one, as ``group``. Each has
    buckets of its own, also where several stand on one limiter.
    """

    __slots__ = ("_general", "_own")

    def __init__(
        self,
        general: Limiter | None,
        *,
        group: str = "",
        own: Mapping[str, Limiter] = _NONE,
    ) -> None:
        prefix = f"{group} " if group else ""
        self._general = None if general is None else (prefix, general)
        self._own = {scope: (f"{scope} ", limiter) for scope, limiter in own.items()}

    def of(self, scopes: Collection[str]) -> tuple[str, Limiter] | None:
        """Who counts an operation that needs ``scopes``, and how its keys begin; None: nobody."""
        for scope, limit in self._own.items():
            if scope in scopes:
                return limit
        return self._general


class RateLimiter:
    """Allow each key ``rate`` requests a second, and ``burst`` at once.

    ``burst`` is the size of the bucket, in requests: at least 1, twice the rate unless given.

    Memory is bounded twice. Buckets idle for long enough to be full again are forgotten as other
    keys arrive. Beyond ``max_keys`` the bucket idle for longest goes: all refill at one rate, so
    it is the nearest to full as a rule, and who is being limited is by that very fact not idle.
    An evicted bucket restarts full; to gain that one burst, a caller must find ``max_keys``
    others that are busier than itself.

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
        # key → when its bucket is full again; the key that asked longest ago comes first.
        self._buckets: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._buckets)

    def take(self, key: str, cost: float = 1.0) -> Decision:
        """Take ``cost`` requests from the bucket of ``key``, or nothing when it holds fewer.

        Errors: ``ValueError`` when ``cost`` is not positive, or larger than the bucket: no wait
        would ever make that succeed.
        """
        if not 0.0 < cost <= self._burst:
            raise ValueError(f"a cost must be above 0 and at most the burst, {self._burst:g}")
        now = self._clock.monotonic()
        if now < self._now:
            # A clock that goes back stands still instead: it neither refills nor punishes.
            now = self._now
        else:
            self._now = now
        buckets = self._buckets
        until_full = 0.0
        full_at = buckets.get(key)
        if full_at is None:
            self._make_room(now)
        else:
            buckets.move_to_end(key)
            if full_at > now:
                until_full = full_at - now
        # Relative to now: a full bucket then holds exactly its burst, whatever the time.
        after = until_full + cost / self._rate
        wait = after - self._window
        allowed = wait <= _SLACK
        if allowed:
            buckets[key] = now + after
            until_full = after
            wait = 0.0
        remaining = int(self._burst - (until_full - _SLACK) * self._rate)
        return Decision(allowed, self._burst, remaining, until_full, wait)

    def _make_room(self, now: float) -> None:
        """Before a new key: forget up to two full buckets, and one in any case at the bound."""
        buckets = self._buckets
        for _ in range(2):
            oldest = next(iter(buckets), None)
            if oldest is None or (buckets[oldest] > now and len(buckets) < self._max_keys):
                return
            del buckets[oldest]
