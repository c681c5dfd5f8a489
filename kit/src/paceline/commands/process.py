"""One process of a service, from its wiring to its end: for ``run``, ``serve`` and ``worker``."""

import asyncio
import inspect
import sys
from collections.abc import Callable
from typing import Never

import uvloop

from paceline.commands.admin import AdminLog
from paceline.commands.gc import tune_gc
from paceline.commands.lazy import USAGE
from paceline.commands.open_files import raise_open_files
from paceline.commands.options import fail
from paceline.commands.settings import ServiceSettings, require_own_ports
from paceline.commands.spec import ServiceSpec
from paceline.commands.start_report import StartReport
from paceline.commands.wiring import Process, ProcessSpec, Wiring
from paceline.edge import RegistrationError, parameters_of
from paceline.errors import Error
from paceline.log import Log, setup_logging


def wire(
    spec: ServiceSpec, config: ServiceSettings, log: AdminLog, process: ProcessSpec
) -> Process:
    """The process, wired and not yet started, with its limit of open files raised.

    Errors: those of `Wiring` and of the service's own wiring, when settings do not go together;
    `RegistrationError` for a scope that no token can have, and for a ``build`` that is none.
    """
    if process.listens and process.handoff is None:
        require_own_ports(config)
    open_files = raise_open_files()
    wiring = Wiring(config, log, process)
    wiring.limits["open_files"] = open_files
    build = spec.get_build()
    _check_build(build, type(config).__name__)
    build(config, wiring)
    wired = wiring.finish()
    _check_scopes(spec, wired)
    return wired


def wire_or_fail(
    spec: ServiceSpec, config: ServiceSettings, log: Log, process: ProcessSpec
) -> Process:
    """As `wire`; ends the command with exit code 2 when something does not go together."""
    try:
        return wire(spec, config, log, process)
    except (Error, RegistrationError) as exc:
        fail(str(exc), code=USAGE)


def _check_build(build: object, config: str) -> None:
    """Refuse what does not take the settings and the wiring, in this order."""
    right = f"write def build(config: {config}, wiring: Wiring) -> None"
    if not callable(build):
        raise RegistrationError("build", None, f"it is {build!r}; {right}, and give build itself")
    if inspect.iscoroutinefunction(build):
        raise RegistrationError("build", build, f"it is async, but it only wires; {right}")
    parameters = parameters_of(build)
    try:
        inspect.Signature(parameters).bind(None, None)
    except TypeError as exc:
        raise RegistrationError(
            "build", build, f"it takes {len(parameters)} of the two arguments; {right}"
        ) from exc
    if parameters[0].annotation in {Wiring, Wiring.__name__}:
        raise RegistrationError("build", build, f"the settings come first; {right}")


def _check_scopes(spec: ServiceSpec, process: Process) -> None:
    """A token can have only the scopes that the service states, so a route may need no other."""
    stated = spec.get_scopes()
    for operation, needed in process.needed_scopes.items():
        for scope in sorted(needed):
            if scope not in stated:
                raise RegistrationError(
                    operation, None, f"it needs the scope {scope}; add it to scopes of ServiceSpec"
                )


def run_process(
    process: Process, log: Log, on_ready: Callable[[], None], report: StartReport | None = None
) -> Never:
    """Run it until it is told to stop, and exit with the lifecycle's code.

    ``on_ready`` is called once everything is up and the limits are logged. ``report``: what people
    see of the start.
    """
    if report is not None:
        report.watch(process)

    def ready() -> None:
        if report is not None:
            report.ready()
        # A person can ask for them: they are in `config` and on the admin port.
        (log.debug if log.is_for_people else log.info)("limits", **process.limits)
        on_ready()
        tune_gc()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(process.lifecycle.run(ready, report))
    sys.exit(code)


def new_log(config: ServiceSettings) -> Log:
    """The log as configured, for the standard library's loggers, too."""
    return setup_logging(config.log_level, format=config.log_format, source=config.log_source)
