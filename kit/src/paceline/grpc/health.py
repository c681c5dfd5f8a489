"""The standard health service (grpc.health.v1), answered from the readiness that /ready tells.

The whole server ("") and each of its services are SERVING while every check passes and nothing
drains; ``liveness`` is a name that is SERVING as long as the process answers, for a restart mends
no database. `HealthHandler.watch` looks again at intervals. Rejected: grpcio-health-checking's
servicer, which holds its lock while it writes, so one watcher that does not read blocks every
change, also the drain's. Asked by orchestrators and by clients that balance load.
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
PROBES: Final = (f"/{SERVICE}/Check", f"/{SERVICE}/Watch")


def add_health(app: RpcApp, health: Health, *, interval: float = 0.25) -> None:
    """Add the service, open to everybody. ``interval``: seconds between two looks of a watcher."""
    handler = HealthHandler(health, lambda: app.services, interval=interval)
    methods = {
        "Check": unary(handler.check, public=True),
        "Watch": stream(handler.watch, public=True),
    }
    app.add(SERVICE, methods, without=["List"])  # young, and not in every grpcio


class HealthHandler:
    """The health methods. ``services`` tells the names there are, besides "" and ``liveness``."""

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
        told: int | None = None
        while True:
            status = await self._status(request.service)
            if status != told:
                told = status
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
