"""From a call to a line: time and call site, context and own fields, redaction, encoding.

Invariant: `Output.write` never raises. It runs once for every request, so the usual record (short
plain texts and numbers) takes one loop and one call of the encoder; everything else goes through
``redact``. A field with the name of one of the record's own four is written as "fields.<name>".
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import gmtime, localtime, strftime
from types import FrameType
from typing import Final, Literal, TextIO, cast

from msgspec import Raw, defstruct

from paceline.clock import Clock
from paceline.log.call_site import CallSite, CallSites
from paceline.log.console import Cell, Console
from paceline.log.context import current_fields
from paceline.log.exceptions import exception_fields, type_name
from paceline.log.jsonline import encode, encode_part, terminated
from paceline.log.level import SEVERITY, Threshold
from paceline.log.redact import ATOMS, SHORT, is_plain, is_secret, masked, plain
from paceline.log.sink import Sink
from paceline.log.tail import Tail
from paceline.log.terminal import columns_of, shows_colours
from paceline.log.urls import MASK

Format = Literal["auto", "json", "pretty"]
"""``auto``: pretty on a terminal, JSON elsewhere."""

Record = dict[str, object]
# A program has fewer field names; only mappings pushed as context fields could exceed this.
_MAX_NAMES: Final = 4096
_MAX_KINDS: Final = 64  # of records, by the names that the context adds
_URGENT: Final = frozenset({"warning", "error"})
_OWN: Final = frozenset({"time", "level", "source", "msg"})


class Output:
    """Writes the records of all loggers, and of the standard library's, to one stream.

    ``threshold``: which levels are written. ``tail``: the last lines.
    """

    __slots__ = (
        "_clock", "_console", "_date_time", "_encode", "_names", "_second", "_sink", "_sites",
        "_zone", "tail", "threshold",
    )  # fmt: skip

    def __init__(
        self,
        clock: Clock,
        stream: TextIO,
        *,
        format: Format,  # noqa: A002 - the setting's name
        source: bool = False,
    ) -> None:
        self._clock = clock
        self.threshold: Threshold = Threshold()
        self.tail: Tail = Tail()
        self._sink = Sink(stream, self.tail)
        terminal = stream.isatty()
        pretty = format == "pretty" or (format == "auto" and terminal)
        self._console: Console | None = None
        if pretty:
            self._console = Console(
                colours=shows_colours(stream), columns=lambda: columns_of(stream), source=source
            )
        self._encode: Callable[[Record], bytes] = self._console or encode
        # A console shows only the time of day: on a terminal the clock of whoever sits before it.
        self._zone = localtime if pretty and terminal else gmtime
        self._sites = CallSites()
        self._names = _Names()
        self._second, self._date_time = -1, ""

    def write(
        self,
        level: str,
        call_site: CallSite | None,
        message: str,
        bound: Mapping[str, object],
        fields: Mapping[str, object],
    ) -> None:
        """Write one record; later fields win over earlier ones of the same name.

        ``call_site`` None: that of the code which called the logger's method.
        """
        try:
            record: Record = {
                "time": self._time(),
                "level": level,
                "source": call_site or self._sites.find(_caller()),
                "msg": message if type(message) is str and is_plain(message) else _message(message),
            }
            _add(record, current_fields(), self._names)
            if bound:
                _add(record, bound, self._names)
            if "exc_info" in fields:
                fields = _with_error(fields)
            _add(record, fields, self._names)
            line = self._encode(record)
        except Exception as exc:  # noqa: BLE001 - a log record must not fail the request
            line = self._encode(self._unwritable(exc))
        self._sink.write(line, at_once=level in _URGENT)

    def prepare(
        self,
        level: str,
        call_site: CallSite,
        message: str,
        bound: Mapping[str, object],
        names: Sequence[str],
    ) -> Callable[..., None]:
        """For `record_writer`: writes such records, given the values of ``names`` in order.

        Unlike `write`, the function checks the threshold at each call.
        """
        at_once = level in _URGENT
        threshold, severity = self.threshold, SEVERITY[level]

        def write_slowly(*values: object) -> None:
            if threshold.severity > severity:
                return
            fields = dict(zip(names, values, strict=False))
            self.write(level, call_site, message, bound, fields)

        own: Record = {"level": level, "source": call_site, "msg": message}
        stay: Record = {}
        _add(stay, bound, self._names)
        taken = frozenset((*own, *stay, *names, "time", "exc_info"))
        distinct = len(taken) == len(own) + len(stay) + len(names) + 2
        shown = is_plain(message) and all(self._names[name] == name for name in names)
        if self._encode is not encode or not names or not distinct or not shown:
            return write_slowly
        before = [Raw(encode_part(value)) for value in own.values()]
        after = [Raw(encode_part(value)) for value in stay.values()]
        kinds: dict[tuple[str, ...], Callable[..., object] | None] = {}

        def find_kind(context: tuple[str, ...]) -> Callable[..., object] | None:
            """The record with these names from the context; None: they need `write`."""
            if len(kinds) >= _MAX_KINDS:
                kinds.clear()
            every = ("time", *own, *context, *stay, *names)
            fits = all(map(str.isidentifier, every)) and not any(
                each in taken or self._names[each] != each for each in context
            )
            kind = kinds[context] = defstruct("Record", every, gc=False) if fits else None
            return kind

        def write(*values: object) -> None:
            if threshold.severity > severity:
                return None
            context = current_fields()
            try:
                key = (*context,)
                kind = kinds[key] if key in kinds else find_kind(key)
                around = context.values()
                if kind is None or not _are_plain((*around, *values)):
                    return write_slowly(*values)
                line = encode_part(kind(self._time(), *before, *around, *after, *values))
            except Exception:  # noqa: BLE001 - whatever it is, `write` handles it
                return write_slowly(*values)
            return self._sink.write(terminated(line), at_once=at_once)

        return write

    @property
    def is_for_people(self) -> bool:
        """Whether the lines are text, and not JSON."""
        return self._console is not None

    def write_cells(
        self,
        level: str,
        cells: Sequence[Cell],
        bound: Mapping[str, object],
        error: BaseException | None,
    ) -> None:
        """Write a line made of cells, where the output `is_for_people`. ``error``: shown below.

        Never raises. Secrets are masked here; ``bound`` fields come last, as cells.
        """
        console = self._console
        if console is None or self.threshold.severity > SEVERITY[level]:
            return
        try:
            fields: Record = {}
            _add(fields, bound, self._names)
            shown = [cell if is_plain(cell.text) else _masked_cell(cell) for cell in cells]
            for name, value in fields.items():
                shown.append(Cell(f"{name}={value}", "dim", optional=True))
            failure = {} if error is None else exception_fields("error", error)
            line = console.line(self._time(), shown, failure)
        except Exception as exc:  # noqa: BLE001 - a log line must not fail the request
            line = self._encode(self._unwritable(exc))
        self._sink.write(line, at_once=level in _URGENT)

    def before_write(self, call: Callable[[], None] | None) -> None:
        """Call ``call`` before lines are written; None: no more."""
        self._sink.before_write = call

    def flush(self) -> None:
        """Write the lines that wait for the end of the loop's round."""
        self._sink.flush()

    def _time(self) -> str:
        """RFC 3339 in UTC with microseconds; all but those is formatted once a second."""
        now = self._clock.time()
        second = int(now)
        if second != self._second:
            self._date_time = strftime("%Y-%m-%dT%H:%M:%S", self._zone(second))
            self._second = second
        # The digits after a one: ":06d" costs as much as the rest.
        return f"{self._date_time}.{str(int((now - second) * 1e6) + 1_000_000)[1:]}Z"

    def _unwritable(self, exc: Exception) -> Record:
        return {
            "time": self._time(),
            "level": "error",
            "msg": "a log record could not be written",
            "error_type": type_name(exc),
        }


def _caller() -> FrameType:
    """The frame that called the logger's method, which called `Output.write`, which called this."""
    return sys._getframe(3)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - inspect's way costs more


def _masked_cell(cell: Cell) -> Cell:
    return cell._replace(text=masked(cell.text))


def _message(message: object) -> str:
    return masked(message) if isinstance(message, str) else str(plain(message))


class _Names(dict[str, str | None]):
    """A cache: the name each field is written under; None if its value is masked."""

    def __missing__(self, key: str) -> str | None:
        if len(self) >= _MAX_NAMES:
            self.clear()
        name = None if is_secret(key) else f"fields.{key}" if key in _OWN else key
        self[key] = name
        return name


def _add(record: Record, fields: Mapping[str, object], names: _Names) -> None:
    for key, value in fields.items():
        name = names[key]
        if name is None:
            record[key] = MASK
        elif type(value) is str:
            # Most values are too short for anything that would be masked.
            record[name] = value if len(value) < SHORT or is_plain(value) else masked(value)
        elif type(value) in ATOMS:
            record[name] = value
        elif isinstance(value, BaseException):
            record.update(exception_fields(name, value))
        else:
            record[name] = plain(value)


def _are_plain(values: Iterable[object]) -> bool:
    """Whether `_add` would write all of them as they are."""
    for value in values:
        if type(value) is str:
            if len(value) >= SHORT and not is_plain(value):
                return False
        elif type(value) not in ATOMS:
            return False
    return True


def _with_error(fields: Mapping[str, object]) -> Mapping[str, object]:
    """``exc_info`` as the standard library takes it (an exception, its triple, True) as "error"."""
    rest = dict(fields)
    info = rest.pop("exc_info")
    if isinstance(info, tuple):
        triple = cast("tuple[object, ...]", info)
        info = next((part for part in triple if isinstance(part, BaseException)), None)
    elif info is True:
        info = sys.exc_info()[1]
    return {"error": info, **rest} if isinstance(info, BaseException) else rest
