"""A function that writes records of one kind, for code that writes one for every request.

Level, call site, message and names never vary, so a JSON log encodes them once, and a record costs
a third of a call of the logger. Invariant: the line is the same, byte for byte. Values that are not
plain (a text to mask, an exception) take the logger's way, and so does any other `Logger`.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from paceline.log.call_site import CallSites
from paceline.log.console import Cell
from paceline.log.level import Level
from paceline.log.logger import Log, Logger

Write = Callable[..., None]


class WriteCells(Protocol):
    """Writes a line made of cells; ``error`` is shown below it. Never raises."""

    def __call__(
        self, level: Level, cells: Sequence[Cell], error: BaseException | None = None, /
    ) -> None:
        """Write it, if its level is written."""
        ...


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


def line_writer(log: Logger) -> WriteCells | None:
    """A function that writes lines of its caller's own layout, if ``log`` is text for people.

    None for JSON and for any other `Logger`, which get records. The time comes before the cells,
    bound fields after them; secrets are masked, and whatever a terminal would interpret escaped.

    Example::

        if (write := line_writer(log)) is not None:
            write("info", [Cell("GET"), Cell(path, shrinks=True), Cell("200", "green")])
    """
    return log.write_cells if isinstance(log, Log) and log.is_for_people else None
