"""Ours: ``raw`` (a plain ASGI function), ``bare`` (a typed route), ``full`` (the whole stack).

All three run on the same server, so their ratio is the price of the layer and of the middleware.
``full`` has what ``myservice`` has: request id, real ip, a log line a request, recover, timeout,
JWT bearer authentication and a rate limit. Started by ``bench/http_layer.py``.
"""

import asyncio
import sys
from collections.abc import Callable

import msgspec
import uvloop

from paceline.auth import HmacSecrets, JwtVerifier
from paceline.clock import SystemClock
from paceline.http import App, ASGIApp, HttpServer, Path, Receive, Scope, Send
from paceline.http.middleware import (
    access_log,
    authenticate,
    rate_limit,
    real_ip,
    recover,
    request_id,
    timeout,
)
from paceline.lifecycle import Lifecycle
from paceline.log import setup_logging
from paceline.resilience import RateLimiter, RateLimits

SECRET = b"a-benchmark-secret-of-at-least-32-bytes"


class Greeting(msgspec.Struct):
    """What the route answers."""

    id: int
    message: str


async def hello(id: Path[int]) -> Greeting:
    """Greet."""
    return Greeting(id, "hello, world")


async def raw(_scope: Scope, _receive: Receive, send: Send) -> None:
    """The least that any layer has to do: the same answer, nothing decided."""
    body = b'{"id":42,"message":"hello, world"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def bare() -> App:
    """A typed route and nothing else."""
    app = App()
    app.group("/hello").get("/{id}", hello)
    return app


def full() -> App:
    """The whole stack."""
    log, clock = setup_logging("info", format="json"), SystemClock()
    app = App(request_id(), real_ip(["10.0.0.0/8"]), access_log(log), recover(log), timeout(30))
    verifier = JwtVerifier([HmacSecrets(SECRET)], clock)
    limiter = RateLimiter(clock, rate=1_000_000)
    app.group("/hello", authenticate(verifier), rate_limit(RateLimits(limiter))).get("/{id}", hello)
    return app


async def main(kind: str, port: int) -> int:
    """Serve until a signal."""
    apps: dict[str, Callable[[], ASGIApp]] = {"raw": lambda: raw, "bare": bare, "full": full}
    app = apps[kind]()
    log = setup_logging("info" if kind == "full" else "error", format="json")
    server = HttpServer(app, log, host="127.0.0.1", port=port)
    return await Lifecycle([server], log).run()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(main(sys.argv[1], int(sys.argv[2]))))
