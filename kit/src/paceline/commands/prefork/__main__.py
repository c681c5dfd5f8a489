"""The supervisor: ``python -m paceline.commands.prefork COMMAND…``, by way of `supervise`.

It opens the sockets, keeps the workers and does nothing else: no threads, no database, no gRPC, so
there is little that could end it. SIGHUP exchanges the workers, who read their configuration
afresh; SIGTERM and SIGINT stop all, a second one forces; exit codes are
``lifecycle.ExitCode``'s. What it was told (``plan``) stays for its life: another number of workers
or another port needs a restart. Read ``workers`` next.
"""

import asyncio
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from paceline.clock import SystemClock
from paceline.commands.prefork.admin import supervisor_app
from paceline.commands.prefork.handoff import SupervisorSpec, take_plan
from paceline.commands.prefork.sockets import open_listener, port_of, reserve
from paceline.commands.prefork.spawn import Spawner
from paceline.commands.prefork.workers import Workers
from paceline.errors import Error
from paceline.http import HttpServer
from paceline.lifecycle import ExitCode, Lifecycle
from paceline.log import Log, setup_logging

_ATTEMPTS = 3
_START_TIMEOUT = 60.0


def main() -> int:
    """Supervise until told to stop; the exit code."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # while there is nothing to reload
    plan, command = take_plan(os.environ), sys.argv[1:]
    if plan is None or not command:
        sys.stderr.write("This is a part of a service's own command: serve --workers 2, say\n")
        return 2
    return supervised(plan, command)


def supervised(plan: SupervisorSpec, command: list[str]) -> int:
    """Run ``command`` as the plan says; the exit code."""
    log = setup_logging(plan.log_level, format=plan.log_format).bind(component="supervisor")
    with ExitStack() as stack:
        try:
            listener = open_listener(plan.host, plan.port, reuse_port=plan.reuse_port)
            stack.enter_context(listener)
            reserved = reserve(plan.host, plan.reserved_port, shared=plan.reuse_port)
            stack.enter_context(reserved)
        except Error as exc:
            log.error("could not start", error=exc)
            return ExitCode.FAILED
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="paceline-")))
        spawner = Spawner(command, listener, reserved_port=port_of(reserved), folder=folder)
        return asyncio.run(_live(plan, spawner, log))


async def _live(plan: SupervisorSpec, spawner: Spawner, log: Log) -> int:
    workers = Workers(
        spawner,
        log,
        SystemClock(),
        count=plan.workers,
        start_timeout=_START_TIMEOUT,
        stop_timeout=plan.stop_timeout,
        attempts=_ATTEMPTS,
    )
    admin = HttpServer(
        supervisor_app(
            workers,
            log,
            service=plan.service,
            version=plan.version,
            token=plan.admin_token,
            draining=lambda: lifecycle.draining,
        ),
        log,
        name="admin server",
        host=plan.admin_host,
        port=plan.admin_port,
        write_timeout=100.0,  # a profile takes up to a minute
    )
    lifecycle = Lifecycle(
        [admin, workers],
        log,
        shutdown_timeout=plan.stop_timeout + 2.0,
        start_timeout=_ATTEMPTS * (_START_TIMEOUT + 1.0),
    )

    def ready() -> None:
        log.info(
            "ready",
            url=f"http://{plan.host}:{spawner.port}",
            grpc_port=spawner.reserved_port,
            admin=admin.url,
            workers=plan.workers,
            version=plan.version,
        )

    return await lifecycle.run(ready)


if __name__ == "__main__":
    sys.exit(main())
