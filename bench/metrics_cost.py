"""What measuring costs: a request, a value, a scrape. CPU time, the least of several rounds.

``python bench/metrics_cost.py`` prints microseconds a request with and without the middleware, a
value of a histogram with and without an exemplar, a scrape with 150 series of 16 lines each, and a
log line, whose output is remembered for the admin port. Needs no database; ``--quick`` runs each
of them a few times. The figures are in ``docs/decisions/0014-metrics-and-the-admin-port.md``.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable

from paceline.http import App, ASGIApp, Message, Receive, Scope, Send, track_response
from paceline.http.middleware import metrics as measured
from paceline.log import new_logger, record_writer
from paceline.metrics import Metrics, Series

_ROUNDS = 12
_SCOPE: Scope = {
    "type": "http", "method": "GET", "path": "/things/7", "headers": (), "query_string": b"",
}  # fmt: skip


async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
    """The smallest application there is."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})


async def _receive() -> Message:
    return {"type": "http.request"}


async def _send(_message: Message) -> None:
    pass


async def _request(app: ASGIApp) -> None:
    scope: Scope = {**_SCOPE}
    _, send = track_response(scope, _send)  # as any middleware outside of it would
    await app(scope, _receive, send)


async def _observe(series: Series) -> None:
    for _ in range(1_000):
        series.observe(0.003)


async def least_of(rounds: int, run: Callable[[], Awaitable[None]], times: int) -> float:
    """Microseconds of CPU for one run."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(times):
            await run()
        best = min(best, (time.process_time() - began) / times)
    return best * 1e6


async def main(*, quick: bool) -> None:
    """Print the table."""

    async def least(run: Callable[[], Awaitable[None]], times: int) -> float:
        return await least_of(1, run, 1) if quick else await least_of(_ROUNDS, run, times)

    registry = Metrics(version="0", exemplar=lambda: None)
    app = App()
    app.router.add("GET", "/things/{id}", answer)
    around = measured(registry)(app)
    bare, whole = (
        await least(lambda: _request(app), 20_000),
        await least(lambda: _request(around), 20_000),
    )
    print(f"a request: {bare:.2f} us, measured {whole:.2f} us: {whole - bare:.2f} us")

    plain = registry.histogram("plain", "Plain.").series()
    traced = Metrics(version="0", exemplar=lambda: "a" * 32).histogram("traced", "Traced.").series()
    print(f"a value: {await least(lambda: _observe(plain), 20) / 1_000:.2f} us")
    print(
        f"a value of a recorded trace: {await least(lambda: _observe(traced), 20) / 1_000:.2f} us"
    )

    many = registry.histogram("many", "Many.", ("what",))
    for number in range(150):
        many.series(str(number)).observe(0.003)
    lines = (await registry.scrape())[0].count(b"\n")

    async def scrape() -> None:
        await registry.scrape("application/openmetrics-text")

    print(f"a scrape of {lines} lines: {await least(scrape, 20) / 1_000:.2f} ms")
    with open(os.devnull, "w") as stream:  # noqa: ASYNC230, PTH123 - nothing is waited for there
        write = record_writer(new_logger("info", stream=stream, format="json"), "info", "done", "n")

        async def log() -> None:
            for number in range(20):
                write(number)
            await asyncio.sleep(0)

        print(f"a log line, 20 a round of the loop: {await least(log, 500) / 20:.2f} us")


if __name__ == "__main__":
    asyncio.run(main(quick="--quick" in sys.argv))
