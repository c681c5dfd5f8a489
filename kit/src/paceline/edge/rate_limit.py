"""Rate limits: the bucket that a request takes from, and the error when it is empty.

A caller has one bucket however it reaches the service: the same limiter and the same key over HTTP
and gRPC. A request without a caller takes from its address's bucket.
"""

from paceline.edge.bearer import Caller
from paceline.errors import Code, Error


class RateLimited(Error):
    """Too many requests. ``retry_after``: seconds until the same request would succeed."""

    kind = "too-many-requests"

    def __init__(self, retry_after: float, message: str = "too many requests, slow down") -> None:
        super().__init__(Code.RESOURCE_EXHAUSTED, message)
        self.retry_after = retry_after


def rate_limit_key(caller: Caller | None, address: str | None) -> str:
    """The limiter's key: a verified caller's, or that of an address, if there is one."""
    if caller is not None:
        return f"principal {caller.subject}"
    return f"address {address or 'unknown'}"
