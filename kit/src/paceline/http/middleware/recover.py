"""Recovery: no exception leaves the application, and each server error is logged once, here.

An `Error` becomes its problem. Anything else becomes a 500 with a fixed text, and its whole chain
and traceback go to the log under the request's id. A deadline that the client imposed is logged as
a warning: any client can ask for a millisecond. Where the access log shows failures with their
requests, it is left to that. Once the response has begun no other can be sent:
the exception goes on to the server, which must cut the connection, or the client would take a torn
body for a whole one. Inside `access_log`, outside `timeout`.
"""

from paceline.edge import failure_log
from paceline.errors import Error
from paceline.http.asgi import FAILURE, ASGIApp, Middleware, Receive, Scope, Send
from paceline.http.problem import Statuses, is_server_error, send_problem
from paceline.http.response_tracker import track_response
from paceline.log import Logger


def recover(log: Logger, *, statuses: Statuses | None = None) -> Middleware:
    """Answer what a request raises. ``statuses``: of the service's own error types."""
    table: Statuses = statuses or {}

    def wrap(app: ASGIApp) -> ASGIApp:
        async def recovering(scope: Scope, receive: Receive, send: Send) -> None:
            response, send = track_response(scope, send)
            try:
                await app(scope, receive, send)
            except Exception as exc:
                if not isinstance(exc, Error) or is_server_error(exc, table):
                    if FAILURE in scope:
                        scope[FAILURE] = exc  # the access log shows it with the request
                    else:
                        write = failure_log(log, exc)
                        write("request failed", error=exc, response_started=response.started)
                if response.started:
                    raise
                await send_problem(scope, send, exc, table)

        return recovering

    return wrap
