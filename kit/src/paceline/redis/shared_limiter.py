"""Rate limits that replicas share: the bucket of each key is in Redis.

One script decides for many keys at once, on the server's clock: takes that are in flight together
share a trip, in order of arrival. Invariant: over all replicas, in any window of t seconds a key is
allowed at most burst + rate * t, as in ``paceline.resilience.rate_limit``, whose algorithm this is.
While Redis is away each replica falls back on a limiter of its own: a limit per replica is worse
than one for all, and better than none, or than refusing everybody. Given to the rate limit
middleware by ``main``.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Final, cast

from paceline.coalesce import CoalescerStats, WriteCoalescer
from paceline.concurrency import expired
from paceline.errors import Error
from paceline.redis.client import Redis
from paceline.redis.connections import Word
from paceline.redis.scripts import TAKE
from paceline.resilience import RateLimitDecision, RateLimiter

_MICROSECONDS: Final = 1e6
_LONGEST_KEY: Final = 128


# A key and a cost.
_Take = tuple[str, float]


class SharedLimiter:
    """Allow each key ``rate`` requests a second and ``burst`` at once, over all replicas.

    ``burst``: twice the rate unless given, at least 1. ``local`` decides while Redis is away, and
    starts with full buckets then. ``name`` keeps the keys apart from all others in the server.

    *Resources*: tasks for the trips that are out; `stop` waits for them.
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
        """The trips so far."""
        return self._takes.stats

    @property
    def fallbacks(self) -> int:
        """Takes that were decided locally."""
        return self._fallbacks

    async def start(self) -> None:
        """Let calls in, also again after `stop`."""
        await self._takes.start()

    async def stop(self) -> None:
        """Wait until everybody is answered."""
        await self._takes.stop()

    async def take(self, key: str, cost: float = 1.0) -> RateLimitDecision:
        """Take ``cost`` requests from the bucket of ``key``, or nothing when it holds fewer.

        Never fails because Redis is away. Errors: ``ValueError`` as for `RateLimiter.take`.
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
        # Takes that are equal are one question: how many of these? Many requests of few callers
        # then cost the server little.
        groups: dict[_Take, int] = {}
        for take in takes:
            groups[take] = groups.get(take, 0) + 1
        arguments: list[Word] = [self._interval * self._burst]
        for (_, cost), asked in groups.items():
            arguments.append(cost * self._interval)
            arguments.append(asked)
        places = [self._place(key) for key, _ in groups]
        answer = cast("Sequence[int]", await self._redis.run(TAKE, places, arguments))
        if len(groups) == len(takes):  # the usual case of many callers
            return [
                next(self._decisions(cost * self._interval, allowed, until_full))
                for (_, cost), allowed, until_full in zip(
                    takes, answer[::2], answer[1::2], strict=True
                )
            ]
        decisions = {
            take: self._decisions(take[1] * self._interval, allowed, until_full)
            for take, allowed, until_full in zip(groups, answer[::2], answer[1::2], strict=True)
        }
        return [next(decisions[take]) for take in takes]

    def _place(self, key: str) -> str:
        if len(key) > _LONGEST_KEY:
            key = blake2b(key.encode(), digest_size=32).hexdigest()
        return f"{self.name}:{key}"

    def _decisions(
        self, cost: float, allowed: int, until_full: float
    ) -> Iterator[RateLimitDecision]:
        """One after the other: ``allowed`` that pass, then refusals; times in microseconds."""
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
