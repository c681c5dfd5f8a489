"""The supervisor: ``python -m paceline.commands.prefork COMMAND…``, by way of `supervise`.

It opens the sockets, keeps the workers running and does nothing else: no threads, no database, no
gRPC, so little can make it fail. SIGHUP replaces the workers one by one, and the new ones read the
configuration again; SIGTERM and SIGINT stop all, a second one forces; exit codes are those of
``lifecycle.ExitCode``. Its own settings never change: another number of workers or another port
needs a restart.
"""

import asyncio
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from paceline.clock import SystemClock
from paceline.commands.open_files import raise_open_files
from paceline.commands.prefork.admin import supervisor_app
from paceline.commands.prefork.handoff import SupervisorSpec, take_spec
from paceline.commands.prefork.sockets import open_listener
from paceline.commands.prefork.spawn import Spawner
from paceline.commands.prefork.workers import Workers
from paceline.commands.start_failure import could_not_start
from paceline.commands.tls import tls_files
from paceline.errors import Error
from paceline.http import HttpServer, ServerLimits
from paceline.http.server import TlsFiles, server_url
from paceline.lifecycle import ExitCode, Lifecycle
from paceline.log import Log, setup_logging

_ATTEMPTS = 3
_START_TIMEOUT = 60.0


def main() -> int:
    """Supervise until a signal; the exit code."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # while there is nothing to reload
    spec, command = take_spec(os.environ), sys.argv[1:]
    if spec is None or not command:
        sys.stderr.write("This is started by a service's own command, such as: serve --workers 2\n")
        return 2
    return run_supervisor(spec, command)


def run_supervisor(spec: SupervisorSpec, command: list[str]) -> int:
    """Run ``command`` in each worker; the exit code."""
    raise_open_files()  # the workers inherit it
    log = setup_logging(spec.log_level, format=spec.log_format, source=spec.log_source)
    log = log.bind(component="supervisor")
    with ExitStack() as stack:
        try:
            admin_tls = tls_files(spec.admin_tls)
            listeners = {
                name: stack.enter_context(
                    open_listener(spec.host, port, reuse_port=spec.reuse_port)
                )
                for name, port in spec.ports.items()
            }
        except Error as exc:
            if not (log.is_for_people and sys.stdout.isatty()):  # told once where both are read
                log.error("could not start", error=exc)
            sys.stderr.write(f"{could_not_start(spec.service, [f'{exc.message}.'])}\n")
            return ExitCode.FAILED
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="paceline-")))
        spawner = Spawner(command, listeners, workers=spec.workers, folder=folder)
        stack.callback(spawner.close)
        return asyncio.run(_run(spec, spawner, log, admin_tls))


async def _run(spec: SupervisorSpec, spawner: Spawner, log: Log, admin_tls: TlsFiles | None) -> int:
    workers = Workers(
        spawner,
        log,
        SystemClock(),
        count=spec.workers,
        start_timeout=_START_TIMEOUT,
        stop_timeout=spec.stop_timeout,
        attempts=_ATTEMPTS,
        max_silence=spec.worker_timeout,
        on_hangup=None if admin_tls is None else lambda: admin_tls.renew(log),
    )
    admin = HttpServer(
        supervisor_app(
            workers,
            log,
            service=spec.service,
            version=spec.version,
            token=spec.admin_token,
            draining=lambda: lifecycle.draining,
        ),
        log,
        name="admin server",
        host=spec.admin_host,
        port=spec.admin_port,
        limits=ServerLimits(write_timeout=100.0),  # a profile takes up to a minute
        tls=admin_tls,
    )
    lifecycle = Lifecycle(
        [admin, workers],
        log,
        shutdown_timeout=spec.stop_timeout + 2.0,
        start_timeout=_ATTEMPTS * (_START_TIMEOUT + 1.0),
    )

    def ready() -> None:
        ports = spawner.ports
        log.info(
            "ready",
            url=server_url(spec.scheme, spec.host, ports["http"]) if "http" in ports else None,
            grpc_port=ports.get("grpc"),
            admin=admin.url,
            workers=spec.workers,
            version=spec.version,
        )

    return await lifecycle.run(ready)


if __name__ == "__main__":
    sys.exit(main())
