"""One process of a service, from its wiring to its end: for ``run``, ``serve`` and ``worker``."""

import asyncio
import sys
from collections.abc import Callable
from typing import Never

import uvloop

from paceline.commands.admin import AdminLog
from paceline.commands.gc import tune_gc
from paceline.commands.open_files import raise_open_files
from paceline.commands.options import USAGE, fail
from paceline.commands.settings import ServiceSettings
from paceline.commands.spec import ServiceSpec
from paceline.commands.wiring import Process, ProcessSpec, Wiring
from paceline.errors import Error
from paceline.log import Log, setup_logging


def wire(
    spec: ServiceSpec, config: ServiceSettings, log: AdminLog, process: ProcessSpec
) -> Process:
    """The process, wired and not yet started, with its limit of open files raised.

    Errors: those of `Wiring` and of the service's own wiring, when settings do not go together.
    """
    open_files = raise_open_files()
    wiring = Wiring(config, log, process)
    wiring.limits["open_files"] = open_files
    spec.get_build()(config, wiring)
    return wiring.finish()


def wire_or_fail(
    spec: ServiceSpec, config: ServiceSettings, log: Log, process: ProcessSpec
) -> Process:
    """As `wire`; ends the command with exit code 2 when settings do not go together."""
    try:
        return wire(spec, config, log, process)
    except Error as exc:
        fail(str(exc), code=USAGE)


def run_process(process: Process, log: Log, on_ready: Callable[[], None]) -> Never:
    """Run it until it is told to stop, and exit with the lifecycle's code.

    ``on_ready`` is called once everything is up and the limits are logged.
    """

    def ready() -> None:
        log.info("limits", **process.limits)
        on_ready()
        tune_gc()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(process.lifecycle.run(ready))
    sys.exit(code)


def new_log(config: ServiceSettings) -> Log:
    """The log as configured, for the standard library's loggers, too."""
    return setup_logging(config.log_level, format=config.log_format)
