"""Metrics: the number of requests, how they ended and how long they took, by the route's pattern.

By the pattern and never by the path, so that the program decides how many series there are and not
its clients. A request that matched no route is in one series, ``unmatched``; an unknown method is
``_OTHER``, as in OpenTelemetry. A request's series is found by three words in a dictionary, which
costs about a microsecond. Names and labels are OpenTelemetry's, in Prometheus' spelling. Inside
`trace`, whose id becomes the exemplar; outside `recover`, so that the status is the one sent.
"""

from typing import Final

from paceline.http.asgi import ASGIApp, Middleware, Scope, known_method, route_of
from paceline.http.middleware.observe import observed
from paceline.metrics import Metrics, Series

UNMATCHED: Final = "unmatched"
_MAX_SERIES: Final = 10_000


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
        if len(known) > _MAX_SERIES:  # unknown methods are the client's to invent
            known.clear()
        series = durations.series(known_method(method), route or UNMATCHED, str(status))
        known[method, route, status] = series
        return series

    def begin(_scope: Scope) -> None:
        active.value += 1

    def count(scope: Scope, status: int, _size: int, seconds: float) -> None:
        active.value -= 1
        key = (scope["method"], route_of(scope), status)
        series = known.get(key) or find_series(*key)
        series.observe(seconds)

    def wrap(app: ASGIApp) -> ASGIApp:
        return observed(app, count, begin)

    return wrap
