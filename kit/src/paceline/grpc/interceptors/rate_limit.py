"""Rate limit: so many calls a second for each caller, or for each address in public methods.

A refused call is RESOURCE_EXHAUSTED with ``RetryInfo``. It counts in the same bucket as the
caller's HTTP requests when it is given the same limits, which also name the buckets. A stream
counts once. Put it after `authenticate`, or it only sees addresses.
"""

from paceline.grpc.call import Call, Endpoint, Interceptor, Method
from paceline.grpc.status import Throttled
from paceline.resilience import RateLimitDecision, RateLimits


def rate_limit(limits: RateLimits) -> Interceptor:
    """Let ``limits`` decide about each call."""

    def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
        limit = limits.limit_for(method.scopes)
        if limit is None:
            return endpoint
        prefix, limiter = limit

        async def limited(call: Call) -> bytes | None:
            decision = limiter.take(f"{prefix}{_key(call)}")
            if not isinstance(decision, RateLimitDecision):
                decision = await decision
            if not decision.allowed:
                raise Throttled(decision.retry_after)
            return await endpoint(call)

        return limited

    return wrap


def _key(call: Call) -> str:
    if call.is_authenticated:
        return f"principal {call.caller.subject}"
    return f"address {call.client}"
