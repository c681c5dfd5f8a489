"""The logger: four levels, a message, fields; `Log.bind` for the fields that stay.

Which level counts is the output's to say (``level``), so it can change while the process runs; a
record nobody wants costs a call and a comparison. The message is positional only, so any name can
be a field. Other rooms take a `Logger`; ``main`` has the `Log`. Read ``output`` for what becomes of
a record.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, Self, TextIO

from paceline.clock import Clock, SystemClock
from paceline.log.call_site import CallSite
from paceline.log.level import WEIGHT, Level
from paceline.log.output import Format, Output
from paceline.log.tail import Tail

_DEBUG: Final = WEIGHT["debug"]
_INFO: Final = WEIGHT["info"]
_WARNING: Final = WEIGHT["warning"]


class Logger(Protocol):
    """What the rest of the kit needs of a log. No method ever raises."""

    def debug(self, event: str, /, **fields: object) -> object:
        """What helps to understand a run; off in production."""
        ...

    def info(self, event: str, /, **fields: object) -> object:
        """What happened, as expected."""
        ...

    def warning(self, event: str, /, **fields: object) -> object:
        """What somebody should look at in working hours."""
        ...

    def error(self, event: str, /, **fields: object) -> object:
        """What went wrong; ``error=exc`` tells its chain, type and traceback."""
        ...


class Log:
    """A `Logger` with bound fields: binding makes another. All on one output share its level."""

    __slots__ = ("_bound", "_output", "_threshold")

    def __init__(self, output: Output, bound: Mapping[str, object]) -> None:
        self._output = output
        self._threshold = output.threshold
        self._bound = bound

    @property
    def level(self) -> Level:
        """The least important records that are written."""
        return self._threshold.level

    @property
    def tail(self) -> Tail:
        """The last lines that were written, by all loggers on this output."""
        return self._output.tail

    def set_level(self, level: Level) -> None:
        """Change it, for every logger on this output and for the standard library's."""
        self._threshold.change(level)

    def bind(self, /, **fields: object) -> Self:
        """A logger with these fields too, on the same output: ``log.bind(component="bus")``."""
        return type(self)(self._output, {**self._bound, **fields})

    def prepare(
        self, level: Level, place: CallSite, event: str, names: Sequence[str]
    ) -> Callable[..., None]:
        """For `prepared`: what writes such a record, when its level is wanted."""
        return self._output.prepare(level, place, event, self._bound, names)

    def debug(self, event: str, /, **fields: object) -> None:
        """Write a record of level debug."""
        if self._threshold.least <= _DEBUG:
            self._output.write("debug", None, event, self._bound, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """Write a record of level info."""
        if self._threshold.least <= _INFO:
            self._output.write("info", None, event, self._bound, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """Write a record of level warning."""
        if self._threshold.least <= _WARNING:
            self._output.write("warning", None, event, self._bound, fields)

    def error(self, event: str, /, **fields: object) -> None:
        """Write a record of level error."""
        self._output.write("error", None, event, self._bound, fields)


def new_logger(
    level: Level = "info",
    *,
    stream: TextIO,
    format: Format = "auto",  # noqa: A002 - the setting's name
    clock: Clock | None = None,
) -> Log:
    """A logger that writes records of ``level`` and above to ``stream``; touches nothing else.

    *Resources*: the stream stays the caller's, and is never closed here.
    """
    return logger_on(Output(clock or SystemClock(), stream, format=format), level)


def logger_on(output: Output, level: Level) -> Log:
    """A logger on an output that others may share."""
    output.threshold.change(level)
    return Log(output, {})
