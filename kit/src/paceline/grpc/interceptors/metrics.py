"""Metrics: how many calls, with which code they ended, how long they took; by method.

What no service has is one series, ``unknown``, for its path is the client's to choose. A stream
counts when it is over, with the time that it was open. Names and labels are OpenTelemetry's, in
Prometheus' spelling. Inside what makes traces; outside ``recover``, so it sees the code that is
sent.
"""

import asyncio
from time import perf_counter

from paceline.errors import Code
from paceline.grpc.call import Call, Endpoint, Interceptor, Method
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
        known: dict[Code, Series] = {}

        async def measured(call: Call) -> bytes | None:
            started = perf_counter()
            code = Code.INTERNAL
            active.value += 1
            try:
                reply = await endpoint(call)
            except asyncio.CancelledError:
                code = call.cut_off
                raise
            else:
                code = call.outcome
                return reply
            finally:
                active.value -= 1
                series = known.get(code)
                if series is None:
                    series = known[code] = durations.series(name, code.name)
                series.observe(perf_counter() - started)

        return measured

    return wrap
