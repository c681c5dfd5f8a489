"""Deadline: the client's own, and never more than the service's, for every unary method.

It is ambient; see ``paceline.edge``. Streams have only their client's, which the protocol enforces:
else they end with their client, their token or the server. Inside `recover`, which sends the
answer.
"""

from paceline.edge import RequestDeadline
from paceline.grpc.call import Call, Endpoint, Interceptor, Method


def deadline(seconds: float, *, set_by: str | None = None) -> Interceptor:
    """Bound each unary call. ``set_by``: for errors, "the service (APP_REQUEST_TIMEOUT)"."""
    return BoundUnary(RequestDeadline(seconds, "the call", set_by=set_by))


class BoundUnary:
    """The interceptor. The protocol that sees it sets no timer of its own for unary calls."""

    def __init__(self, request_deadline: RequestDeadline) -> None:
        self._deadline = request_deadline

    def __call__(self, endpoint: Endpoint, method: Method) -> Endpoint:
        """Wrap ``endpoint``."""
        request_deadline = self._deadline
        if method.streams:
            return endpoint

        async def bounded(call: Call) -> bytes | None:
            left = call.time_remaining()
            with (
                request_deadline.block()
                if left is None
                else request_deadline.block_for(left, call.timeout_field)
            ):
                return await endpoint(call)

        return bounded
