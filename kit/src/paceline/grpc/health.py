"""The standard health service (grpc.health.v1), with the same readiness as ``/ready``.

The whole server ("") and each of its services are SERVING while every check passes and the process
is not draining. The name ``liveness`` is SERVING as long as the process answers, because a restart
mends no database. `HealthHandler.watch` polls. Rejected: grpcio-health-checking's servicer, which
holds its lock while it writes, so that one watcher that does not read blocks every change,
including the drain's.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Final

from grpc_health.v1 import health_pb2 as pb

from paceline.errors import NotFound
from paceline.grpc.app import RpcApp
from paceline.grpc.call import Call
from paceline.grpc.methods import stream, unary
from paceline.health import Health

SERVICE: Final = "grpc.health.v1.Health"
LIVENESS: Final = "liveness"
HEALTH_METHODS: Final = (f"/{SERVICE}/Check", f"/{SERVICE}/Watch")
"""The paths of the probes' methods: for `interceptors.access_log` and the like."""


def add_health(app: RpcApp, health: Health, *, interval: float = 0.25) -> None:
    """Add the service, without a token. ``interval``: seconds between two polls of a watcher."""
    handler = HealthHandler(health, lambda: app.services, interval=interval)
    methods = {
        "Check": unary(handler.check, public=True),
        "Watch": stream(handler.watch, public=True),
    }
    app.add(SERVICE, methods, without=["List"])  # new, and not in every grpcio


class HealthHandler:
    """The health methods. ``services``: the known names, besides "" and ``liveness``."""

    def __init__(
        self, health: Health, services: Callable[[], list[str]], *, interval: float
    ) -> None:
        self._health = health
        self._services = services
        self._interval = interval

    async def check(self, request: pb.HealthCheckRequest, call: Call) -> pb.HealthCheckResponse:
        """The state of one service. Errors: NotFound."""
        del call
        status = await self._status(request.service)
        if status == pb.HealthCheckResponse.SERVICE_UNKNOWN:
            raise NotFound("there is no such service")
        return pb.HealthCheckResponse(status=status)

    async def watch(
        self, request: pb.HealthCheckRequest, call: Call
    ) -> AsyncGenerator[pb.HealthCheckResponse, None]:
        """The state of one service, now and whenever it changes."""
        del call
        sent: int | None = None
        while True:
            status = await self._status(request.service)
            if status != sent:
                sent = status
                yield pb.HealthCheckResponse(status=status)
            await asyncio.sleep(self._interval)

    async def _status(self, service: str) -> int:
        if service == LIVENESS:
            return pb.HealthCheckResponse.SERVING
        if service and service not in self._services():
            return pb.HealthCheckResponse.SERVICE_UNKNOWN
        report = await self._health.ready()
        return (
            pb.HealthCheckResponse.SERVING if report.ready else pb.HealthCheckResponse.NOT_SERVING
        )
