"""Deadline: the client's own, and never more than ``seconds``, for every unary method.

It is ambient (``paceline.concurrency.deadline``), so a checkout or a query that the call starts
knows how much is left, and a statement does not outlive whoever asked for it. Calls without a
shorter deadline share one timer. Streams have none: they end with their client, their token or the
server. Inside `recover`, which sends the answer.
"""

from typing import Final

from paceline.concurrency import SharedDeadline
from paceline.grpc.call import Call, Endpoint, Interceptor, Method

_CLIENT: Final = "the client (grpc-timeout)"


def deadline(seconds: float, *, set_by: str | None = None) -> Interceptor:
    """Bound each unary call. ``set_by``: for errors, "the service (APP_REQUEST_TIMEOUT)"."""
    common = SharedDeadline(seconds, "the call", set_by=set_by)

    def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
        if method.streams:
            return endpoint

        async def bounded(call: Call) -> bytes | None:
            left = call.time_remaining()
            with common.scope() if left is None else common.shorter_scope(left, _CLIENT):
                return await endpoint(call)

        return bounded

    return wrap
