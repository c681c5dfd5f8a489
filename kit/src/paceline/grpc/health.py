"""The standard health service (grpc.health.v1), with the same readiness as ``/ready``.

The whole server ("") and each of its services are SERVING while every check passes and the process
is not draining. The name ``liveness`` is SERVING as long as the process answers, because a restart
mends no database. Invariant: however many watch, the state is polled once for all of them, and not
at all while nobody does. Rejected: grpcio-health-checking's servicer, which holds its lock while it
writes, so that one watcher that does not read blocks every change, including the drain's.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from typing import Final

from paceline.errors import Code, Error, NotFound
from paceline.grpc.app import RpcApp
from paceline.grpc.call import Call
from paceline.grpc.methods import stream, unary
from paceline.grpc.protos import health_pb2 as pb
from paceline.health import Health

_DESCRIPTOR: Final = pb.DESCRIPTOR.services_by_name["Health"]
_UNKNOWN: Final = pb.HealthCheckResponse(status=pb.HealthCheckResponse.SERVICE_UNKNOWN)
SERVICE: Final = "grpc.health.v1.Health"
LIVENESS: Final = "liveness"
MAX_LISTED: Final = 100
"""More are not listed but refused, as the proto says."""
HEALTH_METHODS: Final = (f"/{SERVICE}/Check", f"/{SERVICE}/List", f"/{SERVICE}/Watch")
"""The paths of the probes' methods: for `interceptors.access_log` and the like."""


def add_health(app: RpcApp, health: Health, *, interval: float = 0.25) -> None:
    """Add the service, without a token. ``interval``: seconds between two polls for watchers."""
    handler = HealthHandler(health, lambda: app.services, interval=interval)
    methods = {
        "Check": unary(handler.check, public=True),
        "List": unary(handler.list_all, public=True),
        "Watch": stream(handler.watch, public=True),
    }
    app.add(_DESCRIPTOR, methods)


class HealthHandler:
    """The health methods. ``services``: the known names, besides "" and ``liveness``."""

    def __init__(
        self, health: Health, services: Callable[[], list[str]], *, interval: float
    ) -> None:
        self._health = health
        self._services = services
        self._polled = _PolledReadiness(health, interval=interval)

    async def check(self, request: pb.HealthCheckRequest, call: Call) -> pb.HealthCheckResponse:
        """The state of one service. Errors: NotFound."""
        del call
        if not self._knows(request.service):
            raise NotFound("there is no such service")
        # Liveness does not wait for the checks, which may take their whole timeout.
        ready = request.service == LIVENESS or (await self._health.ready()).ready
        return _answer(ready=ready)

    async def list_all(self, request: pb.HealthListRequest, call: Call) -> pb.HealthListResponse:
        """The state of every service. Errors: Error(RESOURCE_EXHAUSTED) for more than 100."""
        del request, call
        names = ["", LIVENESS, *self._services()]
        if len(names) > MAX_LISTED:
            raise Error(Code.RESOURCE_EXHAUSTED, f"there are more than {MAX_LISTED} services")
        ready = (await self._health.ready()).ready
        answers = {name: _answer(ready=ready or name == LIVENESS) for name in names}
        return pb.HealthListResponse(statuses=answers)

    async def watch(
        self, request: pb.HealthCheckRequest, call: Call
    ) -> AsyncGenerator[pb.HealthCheckResponse, None]:
        """The state of one service, now and whenever it changes."""
        del call
        known = self._knows(request.service)
        if request.service == LIVENESS or not known:  # which never change
            yield _answer(ready=True) if known else _UNKNOWN
            await asyncio.Event().wait()  # until the client or the server ends the stream
        with self._polled.followed():
            sent: bool | None = None
            while True:
                sent = await self._polled.other_than(known=sent)
                yield _answer(ready=sent)

    def _knows(self, service: str) -> bool:
        return service in {"", LIVENESS} or service in self._services()


class _PolledReadiness:
    """Whether the process is ready, asked again and again while somebody follows it.

    *Resources*: a task, as long as anybody is inside of `followed`.
    """

    def __init__(self, health: Health, *, interval: float) -> None:
        self._health = health
        self._interval = interval
        self._ready: bool | None = None
        self._changed = asyncio.Event()
        self._followers = 0
        self._polling: asyncio.Task[None] | None = None

    @contextmanager
    def followed(self) -> Generator[None]:
        """Poll meanwhile."""
        self._followers += 1
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll(), name="health of watchers")
        try:
            yield
        finally:
            self._followers -= 1
            if not self._followers:
                self._polling.cancel()
                self._polling = self._ready = None

    async def other_than(self, *, known: bool | None) -> bool:
        """The state, as soon as it is not ``known``."""
        while (ready := self._ready) is None or ready == known:
            await self._changed.wait()
        return ready

    async def _poll(self) -> None:
        while True:
            ready = (await self._health.ready()).ready
            if ready != self._ready:
                self._ready = ready
                changed, self._changed = self._changed, asyncio.Event()
                changed.set()
            await asyncio.sleep(self._interval)


def _answer(*, ready: bool) -> pb.HealthCheckResponse:
    kinds = pb.HealthCheckResponse
    return kinds(status=kinds.SERVING if ready else kinds.NOT_SERVING)
