"""Loggers: four levels, a message, fields; `Log.bind` for fields that stay.

A call below the level costs the call and one comparison. The message is positional only, so a field
may have any name. Code that logs depends on the `Logger` protocol; `Log` is what satisfies it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, Self, TextIO

from paceline.clock import Clock, SystemClock
from paceline.log.call_site import CallSite
from paceline.log.console import Cell
from paceline.log.level import SEVERITY, Level
from paceline.log.output import Format, Output
from paceline.log.tail import Tail

_DEBUG: Final = SEVERITY["debug"]
_INFO: Final = SEVERITY["info"]
_WARNING: Final = SEVERITY["warning"]


class Logger(Protocol):
    """What code that logs needs. No method ever raises.

    ``event`` is a text that never varies; what varies are the fields.
    """

    def debug(self, event: str, /, **fields: object) -> object:
        """Details for debugging; off in production."""
        ...

    def info(self, event: str, /, **fields: object) -> object:
        """What happened, as expected."""
        ...

    def warning(self, event: str, /, **fields: object) -> object:
        """What should be looked at, though not at once."""
        ...

    def error(self, event: str, /, **fields: object) -> object:
        """What failed; ``error=exc`` adds its chain of causes, type and traceback."""
        ...


class Log:
    """A `Logger` on an output, with bound fields. All loggers on one output share its level."""

    __slots__ = ("_bound", "_output", "_threshold")

    def __init__(self, output: Output, bound: Mapping[str, object]) -> None:
        self._output = output
        self._threshold = output.threshold
        self._bound = bound

    @property
    def level(self) -> Level:
        """The lowest level that is written."""
        return self._threshold.level

    @property
    def tail(self) -> Tail:
        """The last lines that all loggers on this output have written."""
        return self._output.tail

    def set_level(self, level: Level) -> None:
        """Change the level of every logger on this output, and of the standard library's."""
        self._threshold.set(level)

    def bind(self, /, **fields: object) -> Self:
        """Another logger on this output, with these fields as well: ``log.bind(worker=2)``."""
        return type(self)(self._output, {**self._bound, **fields})

    def prepare(
        self, level: Level, call_site: CallSite, event: str, names: Sequence[str]
    ) -> Callable[..., None]:
        """For `record_writer`: the function that writes such records, if their level is written."""
        return self._output.prepare(level, call_site, event, self._bound, names)

    @property
    def is_for_people(self) -> bool:
        """Whether it is text for people, and not JSON."""
        return self._output.is_for_people

    def before_write(self, call: Callable[[], None] | None) -> None:
        """Call ``call`` before lines are written, to clear a line of a terminal; None: no more.

        It must not raise.
        """
        self._output.before_write(call)

    def write_cells(
        self, level: Level, cells: Sequence[Cell], error: BaseException | None = None
    ) -> None:
        """For `line_writer`: a line made of cells, where the log `is_for_people`."""
        self._output.write_cells(level, cells, self._bound, error)

    def debug(self, event: str, /, **fields: object) -> None:
        """Write a record of level debug."""
        if self._threshold.severity <= _DEBUG:
            self._output.write("debug", None, event, self._bound, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """Write a record of level info."""
        if self._threshold.severity <= _INFO:
            self._output.write("info", None, event, self._bound, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """Write a record of level warning."""
        if self._threshold.severity <= _WARNING:
            self._output.write("warning", None, event, self._bound, fields)

    def error(self, event: str, /, **fields: object) -> None:
        """Write a record of level error."""
        self._output.write("error", None, event, self._bound, fields)


def new_logger(
    level: Level = "info",
    *,
    stream: TextIO,
    format: Format = "auto",  # noqa: A002 - the setting's name
    source: bool = False,
    clock: Clock | None = None,
) -> Log:
    """A logger that writes records from ``level`` on to ``stream``.

    ``source``: show people the file and line of every record, and not only from warning on.

    Unlike `setup_logging` it leaves the standard library's logging alone.

    *Resources*: the stream stays the caller's, and is never closed here.
    """
    return logger_on(Output(clock or SystemClock(), stream, format=format, source=source), level)


def logger_on(output: Output, level: Level) -> Log:
    """A logger on an output that other loggers may share."""
    output.threshold.set(level)
    return Log(output, {})
