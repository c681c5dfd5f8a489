"""Rate limit: so many calls a second for each caller, or for each address in public methods.

A call beyond the limit is RESOURCE_EXHAUSTED with ``RetryInfo``. With the limits that HTTP uses, it
takes from the same bucket as its caller's HTTP requests. A stream counts once. Inside
`authenticate`, or there are only addresses.
"""

from collections.abc import Awaitable

from paceline.edge import RateLimited, rate_limit_key
from paceline.grpc.call import Call, Endpoint, Interceptor, Method
from paceline.resilience import RateLimitDecision, RateLimits


def rate_limit(limits: RateLimits) -> Interceptor:
    """Take each call from its bucket of ``limits``."""

    def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
        limit = limits.limit_for(method.scopes)
        if limit is None:
            return endpoint
        prefix, limiter = limit

        def limited(call: Call) -> Awaitable[bytes | None]:
            decision = limiter.take(prefix + _key(call))
            if not isinstance(decision, RateLimitDecision):
                return limited_later(decision, call)
            if not decision.allowed:
                raise RateLimited(decision.retry_after)
            return endpoint(call)

        async def limited_later(waiting: Awaitable[RateLimitDecision], call: Call) -> bytes | None:
            decision = await waiting
            if not decision.allowed:
                raise RateLimited(decision.retry_after)
            return await endpoint(call)

        return limited

    return wrap


def _key(call: Call) -> str:
    if call.is_authenticated:
        return rate_limit_key(call.caller, None)
    return rate_limit_key(None, call.client)
