"""A record as text for people: time, level, message, key=value, and a traceback below.

Whatever a terminal would interpret (control characters, escape sequences, line ends, bidirectional
marks) is shown as its escape, so a value can neither colour, move nor forge a line: the only escape
sequences are the few colours here. Groups are flattened with dots, as by slog's text handler.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from paceline.log.call_site import CallSite
from paceline.log.redact import is_list, is_mapping

_BRIGHT: Final = "\x1b[1m"
_DIM: Final = "\x1b[2m"
_MAGENTA: Final = "\x1b[35m"
_CYAN: Final = "\x1b[36m"
_RESET: Final = "\x1b[0m"
_LEVELS: Final = {
    "debug": "\x1b[32m",
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
}

_NEEDS_QUOTES: Final = frozenset(" \"'=")
_LEVEL_WIDTH: Final = 9
_MESSAGE_WIDTH: Final = 28
# Of "2026-11-24T10:00:00.123456Z": hours to milliseconds.
_TIME_OF_DAY: Final = slice(11, 23)


class Console:
    """Renders records for a terminal, with colours or without."""

    __slots__ = ("_paint",)

    def __init__(self, *, colours: bool) -> None:
        self._paint = _coloured if colours else _uncoloured

    def __call__(self, record: Mapping[str, object]) -> bytes:
        """The record as one line, and one more for each line of a traceback."""
        paint = self._paint
        fields: dict[object, object] = dict(record.items())
        time, level, message = (str(fields.pop(name, "")) for name in ("time", "level", "msg"))
        source = fields.pop("source", None)
        trace = fields.pop("traceback", None)
        columns = [
            paint(_DIM, _escaped(time[_TIME_OF_DAY])),
            f"[{paint(_LEVELS.get(level, ''), f'{level:{_LEVEL_WIDTH}}')}]",
            paint(_BRIGHT, f"{_escaped(message):{_MESSAGE_WIDTH}}"),
        ]
        if isinstance(source, CallSite):
            columns.append(paint(_DIM, _escaped(f"({source.file}:{source.line})")))
        columns += (
            f"{paint(_CYAN, _escaped(key))}={paint(_MAGENTA, _quoted(value))}"
            for key, value in _flat(fields)
        )
        lines = [" ".join(columns).rstrip(" ")]
        if is_list(trace):
            lines += (f"    {_escaped(line)}" for line in trace)
        return "".join(f"{line}\n" for line in lines).encode()


def _coloured(colour: str, text: str) -> str:
    return f"{colour}{text}{_RESET}"


def _uncoloured(_colour: str, text: str) -> str:
    return text


def _flat(fields: Mapping[object, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in fields.items():
        if is_mapping(value):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _escaped(value: object) -> str:
    """The text, with every character that is not printable as its escape."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _quoted(value: object) -> str:
    """A value for ``key=value``: quoted, with escapes, where it would be ambiguous."""
    if not isinstance(value, str):
        return repr(value)
    if value.isprintable() and value and _NEEDS_QUOTES.isdisjoint(value):
        return value
    return repr(value)
