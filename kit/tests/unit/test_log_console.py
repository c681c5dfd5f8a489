"""Text for people, and the standard library's logging on the same output."""

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from paceline.log import context_fields, new_logger, setup_logging
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
    assert line.startswith("22:13:20.000 [warning  ] slow ")
    assert line.rstrip().endswith("request_id=r-1 path='/a b' empty='' n=1 group.a.b=2 group.c=d")
    assert "(kit/tests/unit/test_log_console.py:" in line


def test_a_traceback_stands_below_its_line() -> None:
    stream = io.TextIOWrapper(io.BytesIO())
    log = new_logger(stream=stream, format="pretty")
    try:
        raise ValueError("boom")
    except ValueError as exc:
        log.error("failed", error=exc)
    first, second = written(stream).splitlines()
    assert "error=boom error_type=ValueError" in first
    assert second.startswith("    kit/tests/unit/test_log_console.py:")


def test_a_field_of_any_name_is_shown_as_a_field() -> None:
    stream = io.TextIOWrapper(io.BytesIO())
    log = new_logger(stream=stream, format="pretty")
    log.info("x", exception="a\nb\x1b[2J", stack=["a"], event="e", exc=1, msg="m")
    (line,) = written(stream).splitlines()
    assert line.endswith(r"exception='a\nb\x1b[2J' stack=['a'] event=e exc=1 fields.msg=m")


def test_each_column_has_its_colour_and_values_cannot_add_any() -> None:
    stream = Terminal(io.BytesIO())
    log = new_logger(stream=stream, format="pretty", clock=ManualClock())
    log.error("\x1b[31mred", name="\x1b[5m")
    time, rest = written(stream).split(" ", 1)
    assert time == "\x1b[2m22:13:20.000\x1b[0m"
    assert rest.startswith("[\x1b[31merror    \x1b[0m] \x1b[1m\\x1b[31mred ")
    assert rest.endswith(" \x1b[36mname\x1b[0m=\x1b[35m'\\x1b[5m'\x1b[0m\n")


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
    logger = logging.Logger("uvicorn.error")  # noqa: LOG001 - one that no other test can see
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
    assert '"request_id":"r-1","logger":"uvicorn.error"' in line
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
