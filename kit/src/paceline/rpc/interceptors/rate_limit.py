"""Rate limit: so many calls a second for each caller, or for each address in public methods.

A refused call is RESOURCE_EXHAUSTED with ``RetryInfo``. It counts in the same bucket as the
caller's HTTP requests when it is given the same limiter, which also names the buckets, and the
same group. A stream counts once. Put it after `authenticate`, or it only sees addresses.
"""

from collections.abc import Awaitable
from typing import Protocol

from paceline.limit import Decision
from paceline.rpc.call import Call, Endpoint, Interceptor, Method
from paceline.rpc.status import Throttled


class Limiter(Protocol):
    """Who decides, at once or in a moment."""

    def take(self, key: str, /) -> Decision | Awaitable[Decision]:
        """Take one call from the bucket of ``key``."""
        ...


def rate_limit(limiter: Limiter, *, group: str = "") -> Interceptor:
    """Let ``limiter`` decide about each call; ``group`` names what is limited together."""
    prefix = f"{group} " if group else ""

    def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
        del method

        async def limited(call: Call) -> bytes | None:
            decision = limiter.take(f"{prefix}{_key(call)}")
            if not isinstance(decision, Decision):
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
