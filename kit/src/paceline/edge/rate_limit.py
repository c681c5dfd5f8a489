"""Rate limits: the bucket that a request takes from, and the error when it is empty.

A caller has one bucket however it reaches the service: the same limiter and the same key over HTTP
and gRPC. A request without a caller takes from its address's bucket.
"""

from paceline.edge.bearer import Caller
from paceline.errors import Code, Error


class RateLimited(Error):
    """Too many requests. ``retry_after``: seconds until the same request would succeed."""

    kind = "too-many-requests"

    def __init__(self, retry_after: float) -> None:
        super().__init__(Code.RESOURCE_EXHAUSTED, "too many requests, slow down")
        self.retry_after = retry_after


def caller_key(caller: Caller) -> str:
    """The limiter's key for a verified caller."""
    return f"principal {caller.subject}"


def address_key(address: str) -> str:
    """The limiter's key for a client that is known by its address only."""
    return f"address {address}"
