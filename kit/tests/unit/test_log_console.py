"""Text for people, and the standard library's logging on the same output."""

import io
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from time import tzset

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.log import Format, context_fields, new_logger, setup_logging
from paceline.log.console import Console
from paceline.log.output import Output
from paceline.log.stdlib import route_standard_logging
from paceline.testing.clock import ManualClock


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def written(stream: io.TextIOWrapper) -> str:
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()


def test_a_line_shows_time_level_message_and_fields() -> None:
    stream = io.TextIOWrapper(io.BytesIO())
    log = new_logger(stream=stream, format="pretty", clock=ManualClock())
    with context_fields(request_id="r-1"):
        log.warning("slow", path="/a b", empty="", n=1, group={"a": {"b": 2}, "c": "d"})
    line = written(stream)
    assert line.startswith("22:13:20.000  warning  slow  request_id=r-1 path='/a b' empty='' n=1")
    assert " group.a.b=2 group.c=d  (kit/tests/unit/test_log_console.py:" in line


def test_the_source_is_shown_from_warning_on_or_when_asked_for() -> None:
    for source in (False, True):
        stream = io.TextIOWrapper(io.BytesIO())
        log = new_logger(stream=stream, format="pretty", source=source)
        log.info("a")
        log.warning("b")
        shown = [
            "(kit/tests/unit/test_log_console.py:" in line for line in written(stream).splitlines()
        ]
        assert shown == [source, True]


def test_a_traceback_stands_below_its_line() -> None:
    stream = io.TextIOWrapper(io.BytesIO())
    log = new_logger(stream=stream, format="pretty")
    try:
        raise ValueError("boom")
    except ValueError as exc:
        log.error("failed", error=exc)
    first, second = written(stream).splitlines()
    assert first.endswith("  error  failed  error=boom error_type=ValueError")
    assert second.startswith("    kit/tests/unit/test_log_console.py:")


def test_a_field_of_any_name_is_shown_as_a_field() -> None:
    stream = io.TextIOWrapper(io.BytesIO())
    log = new_logger(stream=stream, format="pretty")
    log.info("x", exception="a\nb\x1b[2J", stack=["a"], event="e", exc=1, msg="m")
    (line,) = written(stream).splitlines()
    assert line.endswith(r"  x  exception='a\nb\x1b[2J' stack=['a'] event=e exc=1 fields.msg=m")


def test_each_part_has_its_colour_and_values_cannot_add_any() -> None:
    stream = Terminal(io.BytesIO())
    log = new_logger(stream=stream, format="pretty", clock=ManualClock())
    log.error("\x1b[31mred", name="\x1b[5m")
    assert written(stream).splitlines()[0] == (
        "\x1b[2m22:13:20.000\x1b[0m  \x1b[1;31merror\x1b[0m  \x1b[1;31m\\x1b[31mred\x1b[0m"
        "  \x1b[2mname='\\x1b[5m'\x1b[0m"
    )


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colours_where_they_are_not_wanted(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    stream = Terminal(io.BytesIO())
    new_logger(stream=stream).error("x", name="y")
    assert "\x1b" not in written(stream)
    monkeypatch.setenv(name, "")
    stream = Terminal(io.BytesIO())
    new_logger(stream=stream).error("x", name="y")
    assert "\x1b" in written(stream)


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Kolkata")
        tzset()
        yield
    tzset()


@pytest.mark.usefixtures("far_east")
def test_the_time_is_local_on_a_terminal_and_utc_elsewhere() -> None:
    ways: list[tuple[type[io.TextIOWrapper], Format, str]] = [
        (Terminal, "pretty", "03:43:20.000"),
        (Terminal, "json", "2023-11-14T22:13:20.000000Z"),
        (io.TextIOWrapper, "pretty", "22:13:20.000"),
        (io.TextIOWrapper, "json", "2023-11-14T22:13:20.000000Z"),
    ]
    for kind, form, time in ways:
        stream = kind(io.BytesIO())
        new_logger(stream=stream, format=form, clock=ManualClock()).info("x")
        assert time in written(stream)


def at_80(**settings: bool) -> Console:
    return Console(colours=False, columns=lambda: 80, **settings)


TIME = "2026-11-24T21:35:14.560123Z"
LONG = {f"field{number}": "value" for number in range(9)}


@dataclass(frozen=True)
class Case:
    id: str
    record: dict[str, object]
    shown: str


RECORDS = [
    Case(
        "an ordinary record is cut at the width of the terminal",
        {"level": "info", "msg": "limits", **LONG},
        "21:35:14.560  limits  field0=value field1=value field2=value field3=value field…\n",
    ),
    Case(
        "the id is short and last, and stays when the rest is cut",
        {"level": "debug", "msg": "hello", "request_id": "c5f2d6a8b3e1f704-000042",
         "trace_id": "0" * 32, "span_id": "0" * 16, **LONG},
        "21:35:14.560  debug  hello  field0=value field1=value field2=value f…  c5f2…0042\n",
    ),
    Case(
        "a warning is never cut: the rest goes below",
        {"level": "warning", "msg": "look", **LONG},
        "21:35:14.560  warning  look  field0=value field1=value field2=value field3=value\n"
        "    field4=value field5=value field6=value field7=value field8=value\n",
    ),
    Case(
        "an error stands below its line, and its traceback below that",
        {"level": "error", "msg": "failed", "error": "no such thing", "error_type": "a.b.NotThere",
         "traceback": ["app/main.py:3 in main"], "n": 1},
        "21:35:14.560  error  failed  n=1\n    NotThere: no such thing\n    app/main.py:3 in main\n",
    ),
    Case(
        "a message that is too long by itself is cut",
        {"level": "info", "msg": "m" * 90},
        f"21:35:14.560  {'m' * 65}…\n",
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", RECORDS, ids=lambda case: case.id)
def test_a_record_fits_its_terminal(case: Case) -> None:
    assert at_80()({"time": TIME, **case.record}).decode() == case.shown


@given(
    st.dictionaries(st.text("ab", min_size=1, max_size=9), st.text(max_size=30), max_size=6),
    st.text("m", max_size=100),
    st.integers(40, 200),
)
def test_an_ordinary_record_is_one_line_that_fits_whatever_it_holds(
    fields: dict[str, object], message: str, columns: int
) -> None:
    console = Console(colours=False, columns=lambda: columns)
    line = console(
        {"time": TIME, "level": "info", "msg": message, **fields, "request_id": "r" * 30}
    )
    text = line.decode()
    assert text.count("\n") == 1
    assert len(text) <= columns + 1


@pytest.mark.parametrize("kind", [Terminal, io.TextIOWrapper])
def test_auto_is_pretty_and_coloured_on_a_terminal_only(kind: type[io.TextIOWrapper]) -> None:
    stream = kind(io.BytesIO())
    new_logger(stream=stream, format="auto").info("hello", a=1)
    line = written(stream)
    assert ("\x1b[" in line) is (kind is Terminal)
    assert line.startswith("{") is (kind is not Terminal)


def test_a_terminal_gets_json_when_asked() -> None:
    stream = Terminal(io.BytesIO())
    new_logger(stream=stream, format="json").info("hello")
    assert written(stream).startswith("{")


@pytest.fixture
def stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO())


@pytest.fixture
def other(stream: io.TextIOWrapper) -> logging.Logger:
    """A logger of the standard library's that is not the process's root."""
    logger = logging.Logger("library.errors")  # noqa: LOG001 - one that no other test can see
    output = Output(ManualClock(), stream, format="json")
    route_standard_logging(output, "info", logger)
    return logger


def test_the_standard_library_writes_the_same_records(
    stream: io.TextIOWrapper, other: logging.Logger
) -> None:
    with context_fields(request_id="r-1"):
        other.warning("port %d of %s", 8080, "x://u:hunter2@h")
        other.debug("not this")
    line = written(stream)
    assert '"level":"warning"' in line
    assert '"msg":"port 8080 of x://u:***@h"' in line
    assert '"file":"test_log_console.py"' in line
    assert '"request_id":"r-1","logger":"library.errors"' in line
    assert "not this" not in line


def test_a_wrong_format_string_is_still_a_record(
    stream: io.TextIOWrapper, other: logging.Logger
) -> None:
    other.critical("port %d", "http")
    assert '"level":"error"' in written(stream)
    assert '"msg":"port %d"' in written(stream)


def test_an_exception_of_the_standard_library_keeps_its_traceback(
    stream: io.TextIOWrapper, other: logging.Logger
) -> None:
    try:
        raise ValueError("boom")
    except ValueError:
        other.exception("failed")
    assert '"error":"boom"' in written(stream)
    assert '"traceback":["kit/tests/unit/test_log_console.py:' in written(stream)


def test_the_handler_has_a_lock_as_every_handler_has(other: logging.Logger) -> None:
    # From Python 3.13 on `logging.Handler.handle` takes it without asking whether there is one.
    (handler,) = other.handlers
    assert handler.lock is not None
    with handler.lock:
        assert handler.handle(other.makeRecord("n", 20, __file__, 1, "m", (), None))


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def test_setup_routes_the_root_logger_and_only_it(
    root: logging.Logger, stream: io.TextIOWrapper
) -> None:
    log = setup_logging("warning", stream=stream, format="json")
    log.warning("ours")
    logging.getLogger("asyncio").warning("theirs")
    logging.getLogger("asyncio").info("not this")
    assert len(root.handlers) == 1
    assert [line.count("msg") for line in written(stream).splitlines()] == [1, 1]
    assert sys.excepthook is sys.__excepthook__
