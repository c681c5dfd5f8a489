"""Commands that do one thing and end: the settings they read, and services while they work.

Invariant: whatever was started is stopped, also when the work fails or is interrupted, and what
went wrong is one line on stderr with exit code 1. Rejected: the signal handling of a server's
process, because an interrupt should end such a command at once.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from paceline.commands.lazy import USAGE
from paceline.commands.options import fail, load_or_fail
from paceline.commands.settings import Command, ServiceSettings
from paceline.commands.spec import ServiceSpec
from paceline.errors import Error, chain
from paceline.lifecycle import Lifecycle, Service
from paceline.log import new_logger

T = TypeVar("T")
G = TypeVar("G", bound=ServiceSettings)


def get_settings(spec: ServiceSpec, group: type[G]) -> type[G]:
    """The service's settings, which must include ``group``; ends the command when they do not."""
    settings = spec.get_config()
    if not issubclass(settings, group):
        fail(f"the settings of {spec.name} do not include {group.__name__}", code=USAGE)
    return settings


def load_for(
    settings: type[G], command: Command, flags: Mapping[str, object], file: Path | None
) -> G:
    """The settings of a command, with all that it needs; every problem is listed, exit code 2.

    What is not given is taken from the development instance on the data folder, if one runs there.
    """
    needed = partial(settings.needed_by, command)
    return load_or_fail(settings, flags, file, needed=needed, running=True).config


def run_once(services: Sequence[Service], work: Callable[[], Awaitable[T]]) -> T:
    """Start ``services`` in order, do ``work``, stop them in reverse; the result of ``work``.

    An `Error` or ``OSError`` ends the command: one line on stderr, exit code 1. Warnings of the
    services go to stderr.

    Example::

        pool = Pool(dsn)
        count = run_once([pool], lambda: count_users(pool))

    Errors: KeyboardInterrupt, after everything is stopped.

    *Resources*: the services and an event loop, until it returns.
    """
    log = new_logger("warning", stream=sys.stderr)

    async def run() -> T:
        async with Lifecycle(services, log):
            return await work()

    try:
        return asyncio.run(run())
    except (Error, OSError) as exc:
        fail(chain(exc))
