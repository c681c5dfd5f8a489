"""Timeout: a request that takes longer than this is cancelled and answered with 504.

The deadline is ambient (``paceline.deadline``), so a checkout or a query started by the request
knows how much is left. All requests share one timer, for a timer each would be a good part of
what a request costs. A stream (``events``) lifts it once it has begun. Inside the recover
middleware, which sends the answer.
"""

from paceline.deadline import CommonDeadline
from paceline.web.asgi import ASGIApp, Middleware, Receive, Scope, Send
from paceline.web.events import LIFT


def timeout(seconds: float) -> Middleware:
    """Bound each request."""
    deadline = CommonDeadline(seconds, "the request")

    def wrap(app: ASGIApp) -> ASGIApp:
        async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
            with deadline.block() as block:
                scope[LIFT] = block.lift
                await app(scope, receive, send)

        return bounded

    return wrap
