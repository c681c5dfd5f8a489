"""Rate limits that replicas share: the bucket of each key is in Redis.

One script decides for many keys at once, on the server's clock: requests that are in flight
together share a round trip, in order of arrival. Invariant: over all replicas, in any window of t
seconds a key is allowed at most burst + rate * t, as in ``paceline.resilience.rate_limit``, whose
algorithm this is. While Redis is unavailable each replica decides with a limiter of its own: a
limit for each replica is worse than one for all, and better than no limit or than refusing
everything.
"""

from collections.abc import Iterator, Sequence
from typing import Final, cast

from paceline.coalesce import CoalescerStats, WriteCoalescer
from paceline.concurrency import expired
from paceline.errors import Error
from paceline.redis.client import Redis
from paceline.redis.connection_pool import RedisArgument, namespaced
from paceline.redis.scripts import TAKE
from paceline.resilience import RateLimitDecision, RateLimiter

_MICROSECONDS: Final = 1e6

_Take = tuple[str, float]
"""A key and a cost."""


class SharedLimiter:
    """Allow each key ``rate`` requests a second and ``burst`` at once, over all replicas.

    ``burst``: twice the rate unless given, at least 1. ``local`` decides while Redis is
    unavailable, and starts with full buckets then. ``name`` separates the keys from all others in
    the server.

        limiter = SharedLimiter(redis, RateLimiter(clock, rate=100), rate=100)
        decision = await limiter.take("client 7")

    *Resources*: tasks for the batches that are running; `stop` waits for them.
    Errors: ``ValueError`` for settings out of range.
    """

    def __init__(
        self,
        redis: Redis,
        local: RateLimiter,
        *,
        rate: float,
        burst: float | None = None,
        name: str = "limit",
    ) -> None:
        if not rate > 0:
            raise ValueError("the rate must be above 0")
        self.name = name
        self._redis = redis
        self._local = local
        self._burst = max(1.0, 2.0 * rate) if burst is None else float(burst)
        if self._burst < 1:
            raise ValueError("the burst must be at least 1")
        self._interval = _MICROSECONDS / rate
        self._takes: WriteCoalescer[_Take, RateLimitDecision] = WriteCoalescer(
            self._take_all, name=f"asking the shared {name}", max_in_flight=2, max_batch=256
        )
        self._fallbacks = 0

    @property
    def stats(self) -> CoalescerStats:
        """Of the batches so far."""
        return self._takes.stats

    @property
    def fallbacks(self) -> int:
        """How many requests were decided by the local limiter."""
        return self._fallbacks

    async def start(self) -> None:
        """Accept calls, also again after `stop`."""
        await self._takes.start()

    async def stop(self) -> None:
        """Wait for the calls in progress."""
        await self._takes.stop()

    async def take(self, key: str, cost: float = 1.0) -> RateLimitDecision:
        """Take ``cost`` requests from the bucket of ``key``, or nothing when it holds fewer.

        Never fails because Redis is unavailable. Errors: ``ValueError`` as for `RateLimiter.take`.
        """
        if not 0.0 < cost <= self._burst:
            raise ValueError(f"a cost must be above 0 and at most the burst, {self._burst:g}")
        try:
            return await self._takes.call((key, cost))
        except Error:
            if expired():
                raise
            self._fallbacks += 1
            return self._local.take(key, cost)

    async def _take_all(self, takes: Sequence[_Take]) -> Sequence[RateLimitDecision]:
        # Equal ones are counted, so that many requests of few callers cost the server little.
        groups: dict[_Take, int] = {}
        for take in takes:
            groups[take] = groups.get(take, 0) + 1
        arguments: list[RedisArgument] = [self._interval * self._burst]
        for (_, cost), requested in groups.items():
            arguments.append(cost * self._interval)
            arguments.append(requested)
        keys = [namespaced(self.name, key) for key, _ in groups]
        result = cast("Sequence[int]", await self._redis.run(TAKE, keys, arguments))
        if len(groups) == len(takes):  # the usual case of many callers
            return [
                next(self._decisions(cost * self._interval, allowed, until_full))
                for (_, cost), allowed, until_full in zip(
                    takes, result[::2], result[1::2], strict=True
                )
            ]
        decisions = {
            take: self._decisions(take[1] * self._interval, allowed, until_full)
            for take, allowed, until_full in zip(groups, result[::2], result[1::2], strict=True)
        }
        return [next(decisions[take]) for take in takes]

    def _decisions(
        self, cost: float, allowed: int, until_full: float
    ) -> Iterator[RateLimitDecision]:
        """``allowed`` that pass, then refusals for ever; times in microseconds."""
        for _ in range(allowed):
            until_full += cost
            yield self._decision(until_full, 0.0)
        refusal = self._decision(until_full, until_full + cost - self._interval * self._burst)
        while True:
            yield refusal

    def _decision(self, until_full: float, wait: float) -> RateLimitDecision:
        left = self._burst - (until_full - 1) / self._interval
        return RateLimitDecision(
            wait == 0.0,
            self._burst,
            int(max(0.0, min(left, self._burst))),
            until_full / _MICROSECONDS,
            wait / _MICROSECONDS,
        )
