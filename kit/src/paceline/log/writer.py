"""A function that writes records of one kind, for code that writes one for every request.

Level, call site, message and names never vary, so a JSON log encodes them once, and a record costs
a third of a call of the logger. Invariant: the line is the same, byte for byte. Values that are not
plain (a text to mask, an exception) take the logger's way, and so does any other `Logger`.
"""

import sys
from collections.abc import Callable
from typing import Final

from paceline.log.call_site import CallSites
from paceline.log.level import Level
from paceline.log.logger import Log, Logger

Write = Callable[..., None]
_METHODS: Final = {"debug": 0, "info": 1, "warning": 2, "error": 3}


def record_writer(log: Logger, level: Level, event: str, *names: str) -> Write:
    """A function that writes such a record, given the values of ``names`` in order.

    completed = record_writer(log, "info", "request completed", "method", "status")
    completed("GET", 200)

    The function never raises.
    """
    if isinstance(log, Log):
        caller = sys._getframe(1)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as in output
        return log.prepare(level, CallSites().find(caller), event, names)
    method = (log.debug, log.info, log.warning, log.error)[_METHODS[level]]

    def write(*values: object) -> None:
        method(event, **dict(zip(names, values, strict=True)))

    return write
