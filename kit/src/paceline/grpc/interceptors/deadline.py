"""Deadline: the client's own, and never more than the service's, for every unary method.

It is ambient; see ``paceline.edge``. Streams have none: they end with their client, their token or
the server. Inside `recover`, which sends the answer.
"""

from paceline.edge import RequestDeadline
from paceline.grpc.call import Call, Endpoint, Interceptor, Method


def deadline(seconds: float, *, set_by: str | None = None) -> Interceptor:
    """Bound each unary call. ``set_by``: for errors, "the service (APP_REQUEST_TIMEOUT)"."""
    request_deadline = RequestDeadline(seconds, "the call", set_by=set_by)

    def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
        if method.streams:
            return endpoint

        async def bounded(call: Call) -> bytes | None:
            left = call.time_remaining()
            with (
                request_deadline.block()
                if left is None
                else request_deadline.block_for(left, "grpc-timeout")
            ):
                return await endpoint(call)

        return bounded

    return wrap
