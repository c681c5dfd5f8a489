"""Metrics: how many requests, how they ended, how long they took; by the route's pattern.

The pattern and never the path, so the number of series is the program's and not the clients' to
choose; what met no route is one series, ``unmatched``, and a method nobody knows is ``_OTHER``, as
OpenTelemetry has it. A request's series is looked up by three words and kept, which makes it cost
about a microsecond. Names and labels are OpenTelemetry's, in Prometheus' spelling. Inside what
makes traces, whose id it keeps as an example; outside ``recover``, so it sees the status that is
sent.
"""

from time import perf_counter
from typing import Final

from paceline.http.asgi import ASGIApp, Middleware, Receive, Scope, Send, known_method, route_of
from paceline.http.response_tracker import track
from paceline.metrics import Metrics, Series

UNMATCHED: Final = "unmatched"
_CLIENT_CLOSED_REQUEST: Final = 499


def metrics(registry: Metrics) -> Middleware:
    """Measure each request. One application a registry."""
    durations = registry.histogram(
        "http_server_request_duration_seconds",
        "How long requests took, from their headers to the end of the answer.",
        ("http_request_method", "http_route", "http_response_status_code"),
    )
    active = registry.gauge("http_server_active_requests", "Requests that are being answered.")
    known: dict[tuple[str, str | None, int], Series] = {}

    def find_series(method: str, route: str | None, status: int) -> Series:
        if len(known) > 10_000:  # noqa: PLR2004 - no client may make it grow for ever
            known.clear()
        series = durations.series(known_method(method), route or UNMATCHED, str(status))
        known[method, route, status] = series
        return series

    def wrap(app: ASGIApp) -> ASGIApp:
        async def measured(scope: Scope, receive: Receive, send: Send) -> None:
            started = perf_counter()
            tracked, send = track(scope, send)
            otherwise = _CLIENT_CLOSED_REQUEST
            active.value += 1
            try:
                await app(scope, receive, send)
            except Exception:
                otherwise = 500
                raise
            finally:
                active.value -= 1
                key = (scope["method"], route_of(scope), tracked.status or otherwise)
                series = known.get(key) or find_series(*key)
                series.observe(perf_counter() - started)

        return measured

    return wrap
