"""Recoverer: no exception leaves the application, and each is logged once, here.

An `Error` becomes its problem; anything else becomes a 500 with a fixed text, while its whole
chain and traceback go to the log under the request's id. That a client had less patience than we
have is a warning only: anybody can ask for a millisecond. When the response has begun there is
nothing left to answer: the exception goes on to the server, which must cut the connection, or the
client would take a torn body for a whole one. Inside the access log, outside the timeout.
"""

from paceline.concurrency import DeadlineExceeded
from paceline.errors import Error
from paceline.http.asgi import ASGIApp, Middleware, Receive, Scope, Send
from paceline.http.problem import Statuses, is_server_error, send_problem
from paceline.http.response_tracker import track
from paceline.log import Logger


def recover(log: Logger, *, statuses: Statuses | None = None) -> Middleware:
    """Turn whatever a request raises into an answer."""
    table: Statuses = statuses or {}

    def wrap(app: ASGIApp) -> ASGIApp:
        async def recovering(scope: Scope, receive: Receive, send: Send) -> None:
            tracked, send = track(scope, send)
            try:
                await app(scope, receive, send)
            except Exception as exc:
                if not isinstance(exc, Error) or is_server_error(exc, table):
                    client_imposed = isinstance(exc, DeadlineExceeded) and exc.client_imposed
                    tell = log.warning if client_imposed else log.error
                    tell("request failed", error=exc, response_started=tracked.started)
                if tracked.started:
                    raise
                await send_problem(scope, send, exc, table)

        return recovering

    return wrap
