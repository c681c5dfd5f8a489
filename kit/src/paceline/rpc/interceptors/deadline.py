"""Deadline: the client's own, and never more than ``seconds``, for every unary method.

It is ambient (``paceline.deadline``), so a checkout or a query that the call starts knows how much
is left, and a statement does not outlive whoever asked for it. Calls without a shorter deadline
share one timer. Streams have none: they end with their client, their token or the server. Inside
`recover`, which sends the answer.
"""

from paceline.deadline import CommonDeadline, fail_after
from paceline.rpc.call import Call, Endpoint, Interceptor, Method


def deadline(seconds: float) -> Interceptor:
    """Bound each unary call."""
    common = CommonDeadline(seconds, "the call")

    def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
        if method.streams:
            return endpoint

        async def bounded(call: Call) -> bytes | None:
            left = call.time_remaining()
            if left is None or left >= seconds:
                with common.block():
                    return await endpoint(call)
            async with fail_after(left, "the call"):
                return await endpoint(call)

        return bounded

    return wrap
