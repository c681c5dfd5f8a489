"""The standard library's logging (asyncio, the database driver) on the same output.

One handler on the root logger replaces those that are there; nothing else of the process changes.
What a caller passes as ``extra=`` becomes fields, and ``stack_info`` is one of them.
Libraries that install handlers of their own must be kept from it.
"""

import atexit
import logging
import sys
from typing import Final, TextIO

from paceline.clock import SystemClock
from paceline.log.call_site import describe
from paceline.log.level import Level
from paceline.log.logger import Log, logger_on
from paceline.log.output import Format, Output

_STACK: Final = 4_000
# What the standard library itself puts into a record; the rest was passed as ``extra``.
_OWN: Final = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})


def setup_logging(
    level: Level = "info",
    *,
    stream: TextIO | None = None,
    format: Format = "auto",  # noqa: A002 - the setting's name
    source: bool = False,
) -> Log:
    """The logger of the process; the standard library's logging goes through it as well.

        log = setup_logging("info")

    ``stream``: standard output unless given. ``source``: show people the file and line of every
    record, and not only from warning on. Called once, by the program's entry point.

    *Resources*: the stream stays the caller's; it is flushed at exit.
    """
    output = Output(SystemClock(), stream or sys.stdout, format=format, source=source)
    atexit.register(output.flush)
    route_standard_logging(output, level, logging.getLogger())
    return logger_on(output, level)


def route_standard_logging(output: Output, level: Level, root: logging.Logger) -> None:
    """Make ``output`` the only handler of ``root``, whose level follows that of the output."""
    root.handlers[:] = [_Bridge(output)]
    root.setLevel(level.upper())
    output.threshold.subscribe(lambda new: root.setLevel(new.upper()))


class _Bridge(logging.Handler):
    """Passes the standard library's records to an output."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record. Never raises."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a wrong format string is no reason to lose the record
            message = str(record.msg)
        call_site = describe(record.funcName or "?", record.pathname, record.lineno, record.name)
        fields = {name: value for name, value in vars(record).items() if name not in _OWN}
        if "logger" in fields:
            fields["fields.logger"] = fields["logger"]
        fields["logger"] = record.name
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        if record.stack_info:
            fields["stack_info"] = record.stack_info[-_STACK:]  # its end is what is looked for
        self._output.write(_level(record.levelno), call_site, message, {}, fields)


def _level(number: int) -> Level:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"
