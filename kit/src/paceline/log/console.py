"""Lines for people: time, level if it is not info, what happened, and what belongs to it, dim.

Whatever a terminal would interpret (control characters, escape sequences, line ends, bidirectional
marks) is shown as its escape, so a value can neither colour, move nor forge a line: the only escape
sequences are the few colours here. Groups are flattened with dots, as by slog's text handler.

On a terminal a line is as long as that is wide: of a path the middle is left out, of an ordinary
record the end. Warnings and errors are never cut: what does not fit goes below, and so does the
text of an error. Ids are shortened, and last. Elsewhere (a file, a pipe) nothing is cut, and a
record is one line with a traceback below.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from paceline.log.call_site import CallSite
from paceline.log.redact import is_list, is_mapping
from paceline.log.terminal import Style, printable, styled

_LEVELS: Final[Mapping[str, Style]] = {"debug": "green", "warning": "yellow", "error": "bold red"}
_CUTTABLE: Final = frozenset({"debug", "info"})

_NEEDS_QUOTES: Final = frozenset(" \"'=")
# Of "2026-11-24T10:00:00.123456Z": hours to milliseconds.
_TIME_OF_DAY: Final = slice(11, 23)
_GAP: Final = "  "
_INDENT: Final = "    "
_ELLIPSIS: Final = "…"
_READABLE: Final = 20
"""So many characters stay of a cell that is shortened, while there is anything to leave out."""
_LEAST: Final = 8
_ID_END: Final = 4
_LONGEST_ID: Final = 2 * _ID_END + len(_ELLIPSIS)
_IDS: Final = ("request_id", "trace_id")
"""The first of these that there is is shown on a terminal, short."""
_HIDDEN_IDS: Final = frozenset({*_IDS, "span_id"})


class Cell(NamedTuple):
    """A part of a line. ``shrinks``: its middle is left out when the line is too long.

    ``optional``: left out as a whole when that does not suffice. ``attached``: one blank from the
    cell before, and not two.
    """

    text: str
    style: Style = ""
    shrinks: bool = False
    optional: bool = False
    attached: bool = False


class Console:
    """Renders lines, with colours or without, for a terminal of so many columns.

    ``columns``: gives None when it is no terminal. ``source``: show the call site of every record;
    from warning on it is always shown, unless a traceback says more.
    """

    __slots__ = ("_columns", "_paint", "_source")

    def __init__(
        self, *, colours: bool, columns: Callable[[], int | None], source: bool = False
    ) -> None:
        self._paint: Callable[[str, Style], str] = styled if colours else _unstyled
        self._columns = columns
        self._source = source

    def __call__(self, record: Mapping[str, object]) -> bytes:
        """The record as a line, and more below it for an error and its traceback."""
        columns = self._columns()
        fields: dict[object, object] = dict(record.items())
        time, level, message = (str(fields.pop(name, "")) for name in ("time", "level", "msg"))
        source = fields.pop("source", None)
        trace = fields.pop("traceback", None)
        cells = [_time_cell(time)]
        if level != "info":
            cells.append(Cell(level, _LEVELS.get(level, "")))
        cells.append(Cell(_escaped(message), "bold red" if level == "error" else ""))
        below: list[str] = []
        last: list[Cell] = []
        if columns is not None:
            below = _error_line(fields)
            last = _short_ids(fields)
        cells += _field_cells(fields)
        shows_source = self._source or (level not in _CUTTABLE and not is_list(trace))
        if isinstance(source, CallSite) and shows_source:
            last.append(Cell(_escaped(f"({source.file}:{source.line})"), "dim"))
        if is_list(trace):
            below += (_escaped(line) for line in trace)
        if columns is None:
            return self._joined([[*cells, *last]], below)
        if level in _CUTTABLE:
            return self._joined([_cut(cells, last, columns)], below)
        return self._joined(_wrapped([*cells, *last], columns), below)

    def line(self, time: str, cells: Sequence[Cell], error_fields: Mapping[str, object]) -> bytes:
        """These cells after the time, and an error (as its fields) below them."""
        columns = self._columns()
        shown = [
            _time_cell(time),
            *(cell._replace(text=_escaped(cell.text)) for cell in cells if cell.text),
        ]
        below: list[str] = []
        fields: dict[object, object] = dict(error_fields.items())
        trace = fields.pop("traceback", None)
        if columns is None:
            shown += _field_cells(fields)
        else:
            below = _error_line(fields)
            shown = _fitted(shown, columns)
        if is_list(trace):
            below += (_escaped(line) for line in trace)
        return self._joined([shown], below)

    def _joined(self, lines: Iterable[Sequence[Cell]], below: Sequence[str]) -> bytes:
        """The lines of cells, the second and later ones indented, and what stands below them."""
        paint = self._paint
        texts: list[str] = []
        for number, cells in enumerate(lines):
            parts = [_INDENT] if number else []
            for cell in cells:
                if len(parts) > (1 if number else 0):
                    parts.append(" " if cell.attached else _GAP)
                parts.append(paint(cell.text, cell.style))
            texts.append("".join(parts))
        for number, line in enumerate(below):
            texts.append(_INDENT + paint(line, "red" if number == 0 else "dim"))
        return "".join(f"{text}\n" for text in texts).encode()


def short_id(text: str) -> str:
    """An id as it is shown on a terminal: both ends, for a counter is at the end."""
    return text if len(text) <= _LONGEST_ID else f"{text[:_ID_END]}{_ELLIPSIS}{text[-_ID_END:]}"


def _unstyled(text: str, _style: Style) -> str:
    return text


def _time_cell(time: str) -> Cell:
    return Cell(_escaped(time[_TIME_OF_DAY]), "dim")


def _field_cells(fields: Mapping[object, object]) -> Iterator[Cell]:
    for number, (key, value) in enumerate(_flat(fields)):
        yield Cell(f"{_escaped(key)}={_quoted(value)}", "dim", attached=number > 0)


def _error_line(fields: dict[object, object]) -> list[str]:
    """The error among the fields, which is taken out of them, as "ValueError: its text"."""
    error, kind = fields.get("error"), fields.get("error_type")
    if not isinstance(error, str) or not isinstance(kind, str):
        return []
    del fields["error"], fields["error_type"]
    name = kind.rpartition(".")[2]
    return [_escaped(error if name == "Error" else f"{name}: {error}")]


def _short_ids(fields: dict[object, object]) -> list[Cell]:
    """The first id among the fields, which are all taken out of them."""
    found = [fields[name] for name in _IDS if name in fields]
    for name in _HIDDEN_IDS:
        fields.pop(name, None)
    return [Cell(_escaped(short_id(str(found[0]))), "dim")] if found else []


def _gap(cell: Cell) -> int:
    return 1 if cell.attached else len(_GAP)


def _width(cells: Sequence[Cell]) -> int:
    return sum(map(_gap, cells[1:])) + sum(len(cell.text) for cell in cells)


def _fitted(cells: list[Cell], columns: int) -> list[Cell]:
    """The cells on one line: those that shrink do, then the optional ones go, the last one first.

    Then they shrink as far as they can. What still does not fit is left to the terminal.
    """
    shown = _shrunk(cells, columns, _READABLE)
    while _width(shown) > columns:
        optional = [index for index, cell in enumerate(cells) if cell.optional]
        if not optional:
            return _shrunk(cells, columns, _LEAST)
        del cells[optional[-1]]
        shown = _shrunk(cells, columns, _READABLE)
    return shown


def _shrunk(cells: list[Cell], columns: int, least: int) -> list[Cell]:
    shown = [*cells]
    for index, cell in enumerate(cells):
        if cell.shrinks and (over := _width(shown) - columns) > 0:
            text = _without_middle(cell.text, max(least, len(cell.text) - over))
            shown[index] = cell._replace(text=text)
    return shown


def _without_middle(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    end = (length - 1) // 3
    return f"{text[: length - 1 - end]}{_ELLIPSIS}{text[len(text) - end :]}"


def _cut(cells: Sequence[Cell], last: Sequence[Cell], columns: int) -> Sequence[Cell]:
    """As much of the cells as fits on one line with the last ones, and an ellipsis."""
    if _width([*cells, *last]) <= columns:
        return [*cells, *last]
    left = columns - sum(_gap(cell) + len(cell.text) for cell in last) - len(_ELLIPSIS)
    shown: list[Cell] = []
    for cell in cells:
        gap = _gap(cell) if shown else 0
        if gap + len(cell.text) <= left:
            shown.append(cell)
            left -= gap + len(cell.text)
            continue
        if left > gap or not shown:
            shown.append(cell._replace(text=cell.text[: max(0, left - gap)]))
        shown[-1] = shown[-1]._replace(text=shown[-1].text + _ELLIPSIS)
        break
    return [*shown, *last]


def _wrapped(cells: Sequence[Cell], columns: int) -> Iterator[Sequence[Cell]]:
    """The cells on as many lines as they need; one that is longer than a line is not cut."""
    line: list[Cell] = []
    room = columns
    for cell in cells:
        if line and _width([*line, cell]) > room:
            yield line
            line, room = [], columns - len(_INDENT)
        line.append(cell)
    yield line


def _flat(fields: Mapping[object, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in fields.items():
        if is_mapping(value):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _escaped(value: object) -> str:
    return printable(str(value))


def _quoted(value: object) -> str:
    """A value for ``key=value``: quoted, with escapes, where it would be ambiguous."""
    if not isinstance(value, str):
        return repr(value)
    if value.isprintable() and value and _NEEDS_QUOTES.isdisjoint(value):
        return value
    return repr(value)
