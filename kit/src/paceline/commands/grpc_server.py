"""The gRPC server of a process: the usual interceptors, health, reflection, and how it is served.

The interceptors come in the order of the HTTP middleware and do the same; streams are counted and
ended inside all of them.
"""

from typing import Protocol

from paceline.commands.http_server import set_by_service
from paceline.commands.ingress import Ingress
from paceline.commands.settings import GrpcSettings
from paceline.commands.wiring import Wiring
from paceline.grpc import PROBES, Method, RpcApp, RpcServer, add_health, add_reflection
from paceline.grpc.interceptors import (
    access_log,
    authenticate,
    deadline,
    metrics,
    rate_limit,
    recover,
    request_id,
    shed,
    trace,
)
from paceline.resilience import Priority


class RpcHandler(Protocol):
    """The methods of one gRPC service."""

    def register(self, app: RpcApp, /) -> None:
        """Add them."""
        ...


def serve_grpc(
    wiring: Wiring, config: GrpcSettings, ingress: Ingress, *handlers: RpcHandler
) -> RpcApp:
    """An application of ``handlers`` under the usual interceptors, and a server for it.

    With the health service, and with reflection if the settings say so.
    """
    service = wiring.spec.service
    app = RpcApp(
        # The first is the outermost.
        shed(ingress.grpc, _priority, domain=service),
        request_id(),
        trace(wiring.tracer, quiet=PROBES),
        access_log(wiring.log, quiet=PROBES),
        *([] if wiring.metrics is None else [metrics(wiring.metrics)]),
        recover(wiring.log, domain=service),
        deadline(config.request_timeout, set_by=set_by_service(config)),
        authenticate(ingress.verifier, wiring.clock),
        rate_limit(ingress.limits),
    )
    for handler in handlers:
        handler.register(app)
    add_health(app, wiring.health)
    if config.grpc_reflection:
        add_reflection(app)  # last: it knows the services that are there
    if wiring.spec.listens:
        wiring.add_server(
            RpcServer(
                app,
                host=config.host,
                port=config.grpc_port,
                max_message=config.max_body,
                reuse_port=config.reuse_port,
                max_connection_age=config.grpc_connection_age or None,
            )
        )
    return app


def _priority(method: Method) -> Priority:
    if method.path in PROBES:
        return Priority.HEALTH
    if any(scope.endswith(":write") for scope in method.scopes):
        return Priority.WRITE
    return Priority.BACKGROUND if method.streams else Priority.READ
