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

OnBegin: TypeAlias = Callable[[Scope], None]
OnEnd: TypeAlias = Callable[[Scope, int, int, float], None]
"""Called with the scope, the status, the bytes of the body and the seconds that it took."""
_INNER: Final = "observed"  # the attribute of an ASGI application


def observed(app: ASGIApp, on_end: OnEnd, on_begin: OnBegin | None = None) -> ASGIApp:
    """Call ``on_begin`` and ``on_end`` once for each request of ``app``, however it ends.

    Where ``app`` is observed already, one observation serves both.
    """
    inner: tuple[ASGIApp, tuple[OnBegin, ...], tuple[OnEnd, ...]] = getattr(
        app, _INNER, (app, (), ())
    )
    app, begins, ends = inner
    begins = begins if on_begin is None else (on_begin, *begins)
    ends = (*ends, on_end)

    async def observe(scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        for begin in begins:
            begin(scope)
        response, send = track_response(scope, send)
        unanswered = _CLIENT_CLOSED_REQUEST
        try:
            await app(scope, receive, send)
        except Exception:
            unanswered = _INTERNAL_SERVER_ERROR
            raise
        finally:
            seconds = perf_counter() - started
            status, size = response.status or unanswered, response.size
            for end in ends:
                end(scope, status, size, seconds)

    setattr(observe, _INNER, (app, begins, ends))
    return observe
