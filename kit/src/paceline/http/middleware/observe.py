"""What is known of a request when it has ended, for its metrics and its log line.

`access_log` and `metrics` want the same: the status that was really sent, the size of the body and
the duration, whatever way the request ended. A client that disconnected is status 499.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Final, TypeAlias

from paceline.http.asgi import ASGIApp, Receive, Scope, Send
from paceline.http.response_tracker import track_response

_CLIENT_CLOSED_REQUEST: Final = 499
_INTERNAL_SERVER_ERROR: Final = 500

OnEnd: TypeAlias = Callable[[Scope, int, int, float], None]
"""Called with the scope, the status, the bytes of the body and the seconds that it took."""


def observed(app: ASGIApp, on_end: OnEnd) -> ASGIApp:
    """Call ``on_end`` once for each request of ``app``, however it ends."""

    async def observe(scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        response, send = track_response(scope, send)
        unanswered = _CLIENT_CLOSED_REQUEST
        try:
            await app(scope, receive, send)
        except Exception:
            unanswered = _INTERNAL_SERVER_ERROR
            raise
        finally:
            on_end(scope, response.status or unanswered, response.size, perf_counter() - started)

    return observe
