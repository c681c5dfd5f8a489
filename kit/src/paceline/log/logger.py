"""The logger: four levels, a message, fields; `Log.bind` for the fields that stay.

Which level counts is decided by the class, once: below it a method is empty, so a record nobody
wants costs a call. The message is positional only, so any name can be a field. Other rooms take a
`Logger`; ``main`` has the `Log`. Read ``output`` for what becomes of a record.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final, Literal, Protocol, Self, TextIO

from paceline.clock import Clock, SystemClock
from paceline.log.output import Format, Output
from paceline.log.source import Source

Level = Literal["debug", "info", "warning", "error"]


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
    """A `Logger` with bound fields. Immutable: binding makes another."""

    __slots__ = ("_bound", "_output")
    _writes: ClassVar[tuple[Level, ...]] = ("debug", "info", "warning", "error")

    def __init__(self, output: Output, bound: Mapping[str, object]) -> None:
        self._output = output
        self._bound = bound

    def bind(self, /, **fields: object) -> Self:
        """A logger with these fields too, on the same output: ``log.bind(component="bus")``."""
        return type(self)(self._output, {**self._bound, **fields})

    def prepare(
        self, level: Level, place: Source, event: str, names: Sequence[str]
    ) -> Callable[..., None]:
        """For `prepared`: what writes such a record, or nothing when its level is not wanted."""
        if level in self._writes:
            return self._output.prepare(level, place, event, self._bound, names)
        return _nothing

    def debug(self, event: str, /, **fields: object) -> None:
        """Write a record of level debug."""
        self._output.write("debug", None, event, self._bound, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """Write a record of level info."""
        self._output.write("info", None, event, self._bound, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """Write a record of level warning."""
        self._output.write("warning", None, event, self._bound, fields)

    def error(self, event: str, /, **fields: object) -> None:
        """Write a record of level error."""
        self._output.write("error", None, event, self._bound, fields)


def _nothing(*_values: object) -> None:
    """Below the level."""


class _FromInfo(Log):
    __slots__ = ()
    _writes: ClassVar[tuple[Level, ...]] = ("info", "warning", "error")

    def debug(self, event: str, /, **fields: object) -> None:
        """Nothing: below the level."""


class _FromWarning(_FromInfo):
    __slots__ = ()
    _writes: ClassVar[tuple[Level, ...]] = ("warning", "error")

    def info(self, event: str, /, **fields: object) -> None:
        """Nothing: below the level."""


class _FromError(_FromWarning):
    __slots__ = ()
    _writes: ClassVar[tuple[Level, ...]] = ("error",)

    def warning(self, event: str, /, **fields: object) -> None:
        """Nothing: below the level."""


_LOGGERS: Final[dict[Level, type[Log]]] = {
    "debug": Log,
    "info": _FromInfo,
    "warning": _FromWarning,
    "error": _FromError,
}


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
    return _LOGGERS[level](output, {})
