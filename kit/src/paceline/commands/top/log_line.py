"""A line of an instance's log for people: of a request its method, path, status and duration.

A log for machines is JSON, a log for people is text, which is shown as it is. Whatever a terminal
would interpret is taken out.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec

from paceline.commands.top.rates import outcome_of
from paceline.commands.top.text import Line, Span, Style, clean, line, shorten
from paceline.commands.units import duration
from paceline.log import short_id

_TEXT: Final = re.compile(
    r"(.*?  )([1-5]\d\d|OK|[A-Z]+(?:_[A-Z]+)*)(  \d[\d.]* (?:µs|ms|s|min)\b.*)"
)
_LEVEL: Final = re.compile(r"^\S+ +\[?(warning|error)\b")
_STYLES: Final[dict[str, Style]] = {"warning": "warn", "error": "bad"}
_HIDDEN: Final = ("source", "trace_id", "span_id", "request_id", "bytes")


def log_lines(text: str, width: int | None = None) -> Iterator[Line]:
    """The lines of one record. ``width``: paths are shortened so that what matters fits."""
    try:
        record = msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        record = {}
    if record:
        yield _of_record(record, width)
        return
    for each in text.split("\n"):
        yield _of_text(clean(each).rstrip())


def _of_text(text: str) -> Line:
    if (request := _TEXT.fullmatch(text)) is not None:
        before, status, after = request.groups()
        return line(before, Span(status, outcome_of(status)), Span(after, "dim"))
    level = _LEVEL.match(text)
    return line(Span(text, _STYLES[level[1]] if level else ""))


def _of_record(record: dict[str, object], width: int | None) -> Line:
    moment, level, message = (clean(str(record.pop(key, ""))) for key in ("time", "level", "msg"))
    request_id = clean(str(record.get("request_id", "")))
    for name in _HIDDEN:
        record.pop(name, None)
    parts = [Span(f"{_time_of_day(moment)}  ", "dim")]
    if "method" in record and ("status" in record or "code" in record):
        parts += _of_request(record, None if width is None else width - len(parts[0].text))
    else:
        style = _STYLES.get(level, "")
        if level != "info":
            parts.append(Span(f"{level}  ", style or "dim"))
        parts.append(Span(message, style))
    rest = " ".join(f"{key}={value}" for key, value in record.items() if value is not None)
    shown = (rest, short_id(request_id))
    parts.append(Span(clean("".join(f"  {each}" for each in shown if each)), "dim"))
    return tuple(parts)


def _of_request(record: dict[str, object], width: int | None) -> Line:
    """What is shown of it is taken out of the record."""
    status = clean(str(record.pop("status", record.pop("code", ""))))
    took = record.pop("duration_ms", None)
    after = f"  {duration(took / 1000)}" if isinstance(took, int | float) else ""
    names = [str(record.pop(key)) for key in ("method", "path") if key in record]
    target = clean(" ".join(names) if len(names) > 1 else short_rpc(names[0]))
    if width is not None:
        target = shorten(target, width - len(status) - len(after) - 2)
    return line(f"{target}  ", Span(status, outcome_of(status)), after)


def short_rpc(method: str) -> str:
    """A gRPC method without its package: "/shop.v1.Items/Get" is "Items/Get"."""
    package, _, name = method.strip("/").rpartition("/")
    return f"{package.rpartition('.')[2]}/{name}" if package else name


def _time_of_day(moment: str) -> str:
    """The time here, as the log for people has it."""
    try:
        return datetime.fromisoformat(moment).astimezone().strftime("%H:%M:%S.%f")[:-3]
    except ValueError:
        return moment[11:23]
