"""The supervisor's program: ``python -m paceline.processes COMMAND…``, by way of `supervise`.

It opens the sockets, keeps the workers and does nothing else: no threads, no database, no gRPC, so
there is little that could end it. SIGHUP exchanges the workers, who read their configuration
afresh; SIGTERM and SIGINT stop all, a second one forces; exit codes are ``lifecycle.Exit``'s. What
it was told (``plan``) stays for its life: another number of workers or another port needs a
restart. Read ``workers`` next.
"""

import asyncio
import os
import sys

from paceline.clock import SystemClock
from paceline.errors import Error
from paceline.lifecycle import Exit, Lifecycle
from paceline.log import setup
from paceline.processes.listening import open_listener, port_of, reserve
from paceline.processes.plan import Plan, take_plan
from paceline.processes.spawn import Spawner
from paceline.processes.workers import Workers

_ATTEMPTS = 3
_START_TIMEOUT = 60.0


def main() -> int:
    """Supervise until told to stop; the exit code."""
    plan, command = take_plan(os.environ), sys.argv[1:]
    if plan is None or not command:
        sys.stderr.write("This is a part of a service's own command: serve --workers 2, say\n")
        return 2
    return supervised(plan, command)


def supervised(plan: Plan, command: list[str]) -> int:
    """Run ``command`` as the plan says; the exit code."""
    log = setup(plan.log_level, format=plan.log_format).bind(component="supervisor")
    try:
        listener = open_listener(plan.host, plan.port, reuse_port=plan.reuse_port)
        reserved = reserve(plan.host, plan.reserved_port, shared=plan.reuse_port)
    except Error as exc:
        log.error("could not start", error=exc)
        return Exit.FAILED
    port, reserved_port = port_of(listener), port_of(reserved)
    workers = Workers(
        Spawner(command, listener, reserved_port=reserved_port),
        log,
        SystemClock(),
        count=plan.workers,
        start_timeout=_START_TIMEOUT,
        stop_timeout=plan.stop_timeout,
        attempts=_ATTEMPTS,
    )
    lifecycle = Lifecycle(
        [workers],
        log,
        shutdown_timeout=plan.stop_timeout + 2.0,
        start_timeout=_ATTEMPTS * (_START_TIMEOUT + 1.0),
    )

    def ready() -> None:
        url = f"http://{plan.host}:{port}"
        log.info("ready", url=url, grpc_port=reserved_port, workers=plan.workers)

    with listener, reserved:
        return asyncio.run(lifecycle.run(ready))


if __name__ == "__main__":
    sys.exit(main())
