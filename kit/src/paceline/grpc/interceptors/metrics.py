"""Metrics: the number of calls, their codes and how long they took, by method.

Paths that no service has are one series, ``unknown``, because clients choose them. A stream counts
when it is over, with the time that it was open. Names and labels are OpenTelemetry's, in
Prometheus' spelling. Inside `trace`, whose id becomes the exemplar; outside `recover`, so that the
code is the one sent.
"""

from paceline.errors import Code
from paceline.grpc.call import Call, Endpoint, Interceptor, Method
from paceline.grpc.interceptors.observe import observed
from paceline.metrics import Metrics, Series


def metrics(registry: Metrics) -> Interceptor:
    """Measure each call. One application a registry."""
    durations = registry.histogram(
        "rpc_server_call_duration_seconds",
        "How long calls took; a stream, how long it was open.",
        ("rpc_method", "rpc_response_status_code"),
    )
    active = registry.gauge("paceline_rpc_active_calls", "Calls that are being answered.")

    def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
        # OpenTelemetry's name has no leading slash: "my.v1.Things/GetThing".
        name = method.path.removeprefix("/")
        known: list[Series | None] = [None] * len(Code)  # a Code is hashed slowly

        def count(_call: Call, code: Code, seconds: float) -> None:
            active.value -= 1
            series = known.get(code)
            if series is None:
                series = known[code] = durations.series(name, code.name)
            series.observe(seconds)

        def begin(_call: Call) -> None:
            active.value += 1

        return observed(endpoint, count, begin)

    return wrap
