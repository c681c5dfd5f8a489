"""A record for people: time, level, message, key=value, and a traceback below it.

structlog's columns and colours; the texts are ours to make safe first. Whatever a terminal would
obey (control characters, escape sequences, line ends, bidirectional marks) is shown as its
escape, so a value can neither colour, move nor forge a line. Groups are flattened with dots, as
slog's text handler does. Used by ``output``.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from structlog.dev import Column, ConsoleRenderer, KeyValueColumnFormatter, LogLevelColumnFormatter

from paceline.log.redact import is_list, is_mapping
from paceline.log.source import Source

_NEEDS_QUOTES: Final = frozenset(" \"'=")
_MESSAGE_WIDTH: Final = 28
# "2026-11-24T10:00:00.123456Z": a person reading along needs hours to milliseconds.
_TIME_OF_DAY: Final = slice(11, 23)


class Console:
    """Renders records for a terminal, with colours or without."""

    __slots__ = ("_columns",)

    def __init__(self, *, colours: bool) -> None:
        styles = ConsoleRenderer.get_default_column_styles(colours)
        levels = ConsoleRenderer.get_default_level_styles(colours)

        def column(key: str, style: str, width: int = 0) -> Column:
            text = KeyValueColumnFormatter(None, style, styles.reset, _escaped, width=width)
            return Column(key, text)

        self._columns = ConsoleRenderer(
            columns=[
                column("time", styles.timestamp),
                Column("level", LogLevelColumnFormatter(levels, styles.reset)),
                column("msg", styles.bright, _MESSAGE_WIDTH),
                column("source", styles.timestamp),
                Column(
                    "",
                    KeyValueColumnFormatter(
                        styles.kv_key, styles.kv_value, styles.reset, _quoted, width=0
                    ),
                ),
            ],
            sort_keys=False,
        )

    def __call__(self, record: dict[str, object]) -> bytes:
        """The record as one line, and one more for each line of a traceback."""
        fields: dict[object, object] = dict(record.items())
        source = fields.pop("source", None)
        trace = fields.pop("traceback", None)
        time = str(fields.pop("time", ""))
        shown: dict[str, object] = {"time": time[_TIME_OF_DAY]}
        shown.update((_escaped(key), value) for key, value in _flat(fields))
        if isinstance(source, Source):
            shown["source"] = f"({source.file}:{source.line})"
        text = self._columns(None, "", shown)
        if is_list(trace):
            text = "\n".join([text, *(f"    {_escaped(line)}" for line in trace)])
        return f"{text}\n".encode()


def _flat(fields: Mapping[object, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in fields.items():
        if is_mapping(value):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _escaped(value: object) -> str:
    """The text with everything that is not printable as its escape."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _quoted(value: object) -> str:
    """A value of ``key=value``: quoted, with escapes, where it could be read as something else."""
    if not isinstance(value, str):
        return repr(value)
    if value.isprintable() and value and _NEEDS_QUOTES.isdisjoint(value):
        return value
    return repr(value)
