"""Timeout: a request that takes longer than this is cancelled and answered with 504.

The deadline is ambient (``paceline.deadline``), so a checkout or a query started by the request
knows how much is left. Inside the recover middleware, which sends the answer.
"""

from paceline.deadline import fail_after
from paceline.web.asgi import ASGIApp, Middleware, Receive, Scope, Send


def timeout(seconds: float) -> Middleware:
    """Bound each request."""

    def wrap(app: ASGIApp) -> ASGIApp:
        async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
            async with fail_after(seconds, "the request"):
                await app(scope, receive, send)

        return bounded

    return wrap
