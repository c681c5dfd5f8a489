"""Records of one kind, made ready once: for a place that writes one for every request.

``write = prepared(log, "info", "request completed", "method", "status")`` gives a function of the
values, in that order. Level, place, message and names never vary, so a JSON log encodes them
once, and a record costs a third of the logger's own call. Invariant: what is written is the same,
byte for byte; what is not plain (a text to mask, an exception) and any other logger takes the
logger's way. Used by the access log.
"""

import sys
from collections.abc import Callable
from typing import Final

from paceline.log.call_site import CallSites
from paceline.log.level import Level
from paceline.log.logger import Log, Logger

Write = Callable[..., None]
_METHODS: Final = {"debug": 0, "info": 1, "warning": 2, "error": 3}


def prepared(log: Logger, level: Level, event: str, *names: str) -> Write:
    """What writes such a record, given the values of ``names`` in order. It never raises."""
    if isinstance(log, Log):
        caller = sys._getframe(1)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as in output
        return log.prepare(level, CallSites().of(caller), event, names)
    method = (log.debug, log.info, log.warning, log.error)[_METHODS[level]]

    def write(*values: object) -> None:
        method(event, **dict(zip(names, values, strict=True)))

    return write
