"""The gRPC server of a process: the usual interceptors, health, reflection, and how it is served.

The interceptors come in the order of the HTTP middleware and do the same; streams are counted and
ended inside all of them.
"""

from typing import Protocol

from paceline.commands.http_server import set_by_service
from paceline.commands.ingress import Ingress, require_ingress
from paceline.commands.open_files import max_connections, open_file_limit
from paceline.commands.settings import GrpcSettings, ports_of, require_settings
from paceline.commands.wiring import Wiring
from paceline.grpc import (
    HEALTH_METHODS,
    RpcApp,
    RpcLimits,
    RpcServer,
    add_health,
    add_reflection,
    describe,
    read_origins,
)
from paceline.grpc.interceptors import (
    PreAdmission,
    access_log,
    authenticate,
    classify_by_scope,
    deadline,
    metrics,
    rate_limit,
    recover,
    request_id,
    shed,
    trace,
)
from paceline.http import sample_id


class RpcHandler(Protocol):
    """The methods of one gRPC service."""

    def register(self, app: RpcApp, /) -> None:
        """Add them."""
        ...


def serve_grpc(
    wiring: Wiring, config: GrpcSettings, ingress: Ingress, *handlers: RpcHandler
) -> RpcApp:
    """An application of ``handlers`` under the usual interceptors, and a server for it.

    With the health service, and with reflection if the settings say so. `serve_docs` lists the
    methods.
    """
    require_settings(config, "serve_grpc", GrpcSettings)
    require_ingress(ingress)
    service = wiring.spec.service
    priority = classify_by_scope(health=HEALTH_METHODS)
    app = RpcApp(
        # The first is the outermost.
        shed(ingress.grpc, priority, domain=service),
        request_id(),
        trace(wiring.tracer, skip_paths=HEALTH_METHODS),
        access_log(wiring.log, debug_paths=HEALTH_METHODS),
        *([] if wiring.metrics is None else [metrics(wiring.metrics)]),
        recover(wiring.log, domain=service),
        deadline(config.request_timeout, set_by=set_by_service(config)),
        authenticate(ingress.verifier, wiring.clock, ingress.failures),
        rate_limit(ingress.limits),
        admission_check=PreAdmission(ingress.grpc, priority, domain=service),
        cors_origins=read_origins(config.grpc_cors_origins),
    )
    for handler in handlers:
        handler.register(app)
    wiring.needed_scopes |= {f"gRPC {each.path}": each.scopes for each in app.methods}
    add_health(app, wiring.health)
    if config.grpc_reflection:
        add_reflection(app)  # last: it knows the services that are there
    if wiring.spec.listens:
        handoff = wiring.spec.handoff
        server = wiring.add_server(
            RpcServer(
                app,
                wiring.log,
                host=config.host,
                port=config.grpc_port,
                reuse_port=config.reuse_port,
                listener=handoff.take_listener("grpc") if handoff else None,
                tls=wiring.tls,
                limits=RpcLimits(
                    max_message=config.max_body,
                    max_connections=max_connections(
                        open_file_limit(), servers=len(ports_of(config))
                    ),
                    max_connection_age=config.grpc_connection_age or None,
                ),
            )
        )
        wiring.docs_extensions["x-grpc"] = lambda: {
            "port": server.port,
            "reflection": config.grpc_reflection,
            "services": describe(app, sample_id=sample_id),
        }
    return app
