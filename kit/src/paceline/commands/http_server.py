"""The HTTP server of a process: the usual middleware, the probes, and how it is served.

The order of the middleware is a decision: what is refused for want of room costs nothing; every
request has an id and a line in the log, those that fail, too; the deadline is inside what answers
for it. A service that wants another order builds its `App` itself.
"""

from collections.abc import Collection
from typing import Final, Protocol

from paceline.commands.ingress import Ingress, require_ingress
from paceline.commands.open_files import max_connections, open_file_limit
from paceline.commands.settings import HttpSettings, ports_of, require_settings
from paceline.commands.wiring import Wiring
from paceline.config import Settings, format_duration
from paceline.http import (
    DOCS_PATHS,
    App,
    HttpServer,
    RouteGroup,
    ServerLimits,
    Statuses,
    add_docs,
    add_probes,
)
from paceline.http.middleware import (
    PreAdmission,
    access_log,
    authenticate,
    classify_by_method,
    metrics,
    rate_limit,
    real_ip,
    recover,
    request_id,
    shed,
    timeout,
    trace,
)

PROBES: Final = ("/health", "/ready")
_MIN_UPLOADS: Final = 64 * 1024 * 1024  # bytes of bodies that are still arriving


class HttpHandler(Protocol):
    """The routes of one resource."""

    def register(self, api: RouteGroup, /) -> None:
        """Add them."""
        ...


def serve_api(
    wiring: Wiring,
    config: HttpSettings,
    ingress: Ingress,
    *handlers: HttpHandler,
    prefix: str = "/api/v1",
    statuses: Statuses | None = None,
    background: Collection[str] = (),
) -> App:
    """`serve_http`, the routes of ``handlers`` in the `api_group` below ``prefix``, and the docs.

    The docs are ``/docs`` and ``/openapi.json``. For ``statuses`` and ``background`` see
    `serve_http`; a service that wants several groups calls these functions itself.

    Example::

        serve_api(wiring, config, new_ingress(wiring, config), NoteHandler(notes))
    """
    app = serve_http(wiring, config, ingress, statuses=statuses, background=background)
    api = api_group(app, prefix, ingress)
    for handler in handlers:
        handler.register(api)
    serve_docs(wiring, app)
    return app


def serve_http(
    wiring: Wiring,
    config: HttpSettings,
    ingress: Ingress,
    *,
    statuses: Statuses | None = None,
    background: Collection[str] = (),
) -> App:
    """An application under the usual middleware, with probes, and a server for it.

    Its routes are the service's to add, then `serve_docs`, which describes them.
    ``statuses``: HTTP's for own types of error. ``background``: paths that are refused first when
    there is no room, such as streams.
    """
    require_settings(config, "serve_http", HttpSettings)
    require_ingress(ingress)
    priority = classify_by_method(health=PROBES, background=(*DOCS_PATHS, *background))
    app = App(
        # The first is the outermost.
        shed(ingress.http, priority),
        request_id(),
        trace(wiring.tracer, skip_paths=PROBES),
        real_ip(config.trusted_proxies),
        access_log(wiring.log, debug_paths=PROBES),
        *([] if wiring.metrics is None else [metrics(wiring.metrics)]),
        recover(wiring.log, statuses=statuses or {}),
        timeout(config.request_timeout, set_by=set_by_service(config)),
        max_body=config.max_body,
        statuses=statuses or {},
        lifespan=wiring.lifespan,
    )
    add_probes(app, wiring.health)
    wiring.app = app
    wiring.limits["request_timeout"] = format_duration(config.request_timeout)
    if wiring.spec.listens:
        handoff = wiring.spec.handoff
        connections = max_connections(open_file_limit(), servers=len(ports_of(config)))
        wiring.limits["max_connections"] = connections
        wiring.add_server(
            HttpServer(
                app,
                wiring.log,
                host=config.host,
                port=config.port,
                reuse_port=config.reuse_port,
                listener=handoff.take_listener("http") if handoff else None,
                limits=ServerLimits(
                    max_connections=connections,
                    max_upload_bytes=max(_MIN_UPLOADS, 4 * config.max_body),
                    keep_alive_grace=config.keep_alive_grace,
                    read_timeout=config.read_timeout,
                    write_timeout=config.write_timeout,
                    idle_timeout=config.idle_timeout,
                ),
                admission_check=PreAdmission(ingress.http, priority),
                tls=wiring.tls,
            )
        )
    return app


def api_group(app: App, prefix: str, ingress: Ingress) -> RouteGroup:
    """Routes below ``prefix`` for callers with a good token, within their limits."""
    return app.group(
        prefix, authenticate(ingress.verifier, ingress.failures), rate_limit(ingress.limits)
    )


def serve_docs(wiring: Wiring, app: App, *, description: str = "") -> None:
    """Describe the routes of ``app``, and the gRPC methods, at ``/docs``; call it after the routes.

    ``description``: of the API, as Markdown.
    """
    add_docs(
        app,
        title=wiring.spec.service,
        version=wiring.spec.version,
        description=description,
        extensions=wiring.docs_extensions,
    )


def set_by_service(config: Settings) -> str:
    """What sets the deadline of a request, for errors: "exceeded the 30s set by …"."""
    return f"the service ({config.variable('request_timeout')})"
