"""Records: their shape, their levels, their context fields, and that a call never raises."""

import asyncio
import enum
import io
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import cast

import pytest
from log_capture import Capture

from paceline.errors import Code, Error, NotFound, wrap
from paceline.log import Level, Log, context_fields, new_logger, pop_fields, push_fields
from paceline.testing.clock import ManualClock


@pytest.fixture
def capture() -> Capture:
    return Capture()


@pytest.fixture
def log(capture: Capture) -> Log:
    return new_logger("debug", stream=capture.stream, format="json")


def trace_of(record: dict[str, object]) -> list[str]:
    return cast("list[str]", record["traceback"])


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class BrokenMapping(Mapping[str, object]):
    def __getitem__(self, key: str) -> object:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("gone")

    def __len__(self) -> int:
        return 1


class Colour(enum.Enum):
    RED = "red"


def raised(exc: Exception) -> Exception:
    try:
        raise exc
    except Exception as caught:  # noqa: BLE001 - to give it a traceback
        return caught


def test_a_record_is_one_json_line_in_a_fixed_order(capture: Capture) -> None:
    clock = ManualClock(1_700_000_000.25)
    log = new_logger(stream=capture.stream, format="json", clock=clock)
    with context_fields(request_id="r-1"):
        log.info("request completed", method="GET", status=200, duration_ms=1.5, client=None)
    (line,) = capture.lines()
    record = json.loads(line)
    source = record.pop("source")
    assert list(record.items()) == [
        ("time", "2023-11-14T22:13:20.250000Z"),
        ("level", "info"),
        ("msg", "request completed"),
        ("request_id", "r-1"),
        ("method", "GET"),
        ("status", 200),
        ("duration_ms", 1.5),
        ("client", None),
    ]
    assert list(json.loads(line))[:4] == ["time", "level", "source", "msg"]
    assert source["function"] == "test_a_record_is_one_json_line_in_a_fixed_order"
    assert source["file"] == "kit/tests/unit/test_log.py"
    assert source["line"] > 40


def test_the_time_always_has_microseconds_and_follows_the_clock(capture: Capture) -> None:
    clock = ManualClock(1_700_000_000.0)
    log = new_logger(stream=capture.stream, format="json", clock=clock)
    log.info("a")
    clock.advance(0.96875)
    log.info("b")
    clock.advance(0.03125)
    log.info("c")
    assert [record["time"] for record in capture.records()] == [
        "2023-11-14T22:13:20.000000Z",
        "2023-11-14T22:13:20.968750Z",
        "2023-11-14T22:13:21.000000Z",
    ]


def test_each_call_site_is_named_each_time(capture: Capture, log: Log) -> None:
    def inner() -> None:
        for _ in range(2):
            log.info("a")

    inner()
    inner()
    log.info("c")
    sources = [record["source"] for record in capture.records()]
    assert sources[0] == sources[1] == sources[2] == sources[3]
    assert sources[4] != sources[0]


LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_writes_itself_and_what_is_more_severe(capture: Capture, level: Level) -> None:
    log = new_logger(level, stream=capture.stream, format="json")
    log.debug("debug")
    log.info("info")
    log.warning("warning")
    log.error("error")
    written = [(record["level"], record["msg"]) for record in capture.records()]
    assert written == [(name, name) for name in LEVELS[LEVELS.index(level) :]]


def test_bound_fields_stand_between_context_and_own_ones_and_later_wins(
    capture: Capture, log: Log
) -> None:
    bound = log.bind(component="bus", shade="bound")
    with context_fields(request_id="r", shade="context"):
        bound.info("x", topic="orders")
        bound.info("y", shade="own")
    log.info("z")
    x, y, z = capture.records()
    assert list(x)[4:] == ["request_id", "shade", "component", "topic"]
    assert (x["shade"], y["shade"]) == ("bound", "own")
    assert "component" not in z


def test_binding_adds_to_what_is_bound_and_changes_no_other_logger(
    capture: Capture, log: Log
) -> None:
    outer = log.bind(self="s", component="bus")
    inner = outer.bind(component="web", n=1)
    inner.info("x")
    outer.info("y")
    x, y = capture.records()
    assert (x["self"], x["component"], x["n"]) == ("s", "web", 1)
    assert y["component"] == "bus"
    assert "n" not in y
    assert type(inner) is type(log)


def test_any_name_can_be_a_field_and_none_hides_what_is_ours(capture: Capture, log: Log) -> None:
    log.info("real", self=1, event=2, method_name=3, msg="forged", time=0, level="x", source="y")
    record = capture.record()
    assert (record["self"], record["event"], record["method_name"]) == (1, 2, 3)
    assert (record["msg"], record["level"]) == ("real", "info")
    assert record["fields.msg"] == "forged"
    assert record["fields.time"] == 0


def test_context_fields_nest_and_end_with_their_block(capture: Capture, log: Log) -> None:
    token = push_fields({"a": 1})
    with context_fields(b=2):
        log.info("in")
    log.info("out")
    pop_fields(token)
    log.info("done")
    inside, outside, done = capture.records()
    assert (inside["a"], inside["b"]) == (1, 2)
    assert "b" not in outside
    assert "a" not in done


async def test_tasks_do_not_see_each_others_context_fields(capture: Capture, log: Log) -> None:
    async def request(name: str) -> None:
        with context_fields(request_id=name):
            await asyncio.sleep(0)
            log.info(name)

    async with asyncio.TaskGroup() as tasks:
        for name in ("a", "b", "c"):
            tasks.create_task(request(name))
    assert all(record["msg"] == record["request_id"] for record in capture.records())


def test_values_that_are_not_json_are_shown_as_text(capture: Capture, log: Log) -> None:
    identity = uuid.UUID(int=1)
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    log.info("x", id=identity, at=moment, colour=Colour.RED, many={1}, big=2**90, nan=float("nan"))
    record = capture.record()
    assert record["id"] == str(identity)
    assert record["at"] == str(moment)
    assert record["colour"] == "red"
    assert record["many"] == [1]
    assert record["big"] == 2**90
    assert record["nan"] is None


def test_an_expected_error_shows_its_chain_and_type_without_a_traceback(
    capture: Capture, log: Log
) -> None:
    failure = NotFound("record not found")
    try:
        with wrap("service.get_record({})", 42):
            raise failure
    except NotFound as exc:
        log.error("request failed", error=exc, response_started=False)
    record = capture.record()
    assert record["error"] == "service.get_record(42): record not found"
    assert record["error_type"] == "paceline.errors.NotFound"
    assert "traceback" not in record
    assert record["response_started"] is False


def test_an_unexpected_error_shows_its_traceback_and_its_cause(capture: Capture, log: Log) -> None:
    def divide() -> float:
        return 1 / 0

    def fail() -> None:
        try:
            divide()
        except ZeroDivisionError as exc:
            raise Error(Code.INTERNAL, "cannot compute") from exc

    try:
        fail()
    except Error as exc:
        log.error("request failed", error=exc)
    record = capture.record()
    assert record["error"] == "cannot compute: division by zero"
    trace = trace_of(record)
    assert trace[1].endswith("fail")
    assert "from ZeroDivisionError: division by zero" in trace
    assert trace[-1].startswith("kit/tests/unit/test_log.py:")
    assert trace[-1].endswith("divide")


def test_a_group_of_errors_shows_each_of_them(capture: Capture, log: Log) -> None:
    group = ExceptionGroup("two", [raised(ValueError("one")), raised(KeyError("other"))])
    log.error("x", error=raised(group))
    trace = trace_of(capture.record())
    assert "with ValueError: one" in trace
    assert "with KeyError: 'other'" in trace


def test_a_traceback_is_bounded_however_deep(capture: Capture, log: Log) -> None:
    def dive(n: int) -> None:
        if n == 0:
            raise ValueError("x" * 100_000)
        dive(n - 1)

    try:
        dive(200)
    except ValueError as exc:
        log.error("x", error=exc)
    assert 1 < len(trace_of(capture.record())) <= 40
    assert len(capture.lines()[0]) < 20_000


def test_exc_info_is_taken_in_all_the_forms_of_the_standard_library(
    capture: Capture, log: Log
) -> None:
    exc = raised(ValueError("boom"))
    log.error("a", exc_info=exc)
    log.error("b", exc_info=(type(exc), exc, exc.__traceback__))
    try:
        raise exc
    except ValueError:
        log.error("c", exc_info=True)  # noqa: G201 - our loggers have no .exception
    log.error("d", exc_info=None)
    a, b, c, d = capture.records()
    assert a["error"] == b["error"] == c["error"] == "boom"
    assert "exc_info" not in a
    assert "error" not in d


@pytest.mark.parametrize(
    "value",
    [
        Unprintable(),
        BrokenMapping(),
        [Unprintable()],
        {"k": BrokenMapping()},
        {Unprintable(): 1},
        lambda: 1,
    ],
    ids=["repr raises", "iteration raises", "in a list", "in a group", "as a key", "a function"],
)
@pytest.mark.parametrize("form", ["json", "pretty"])
def test_a_call_never_raises_whatever_it_is_given(
    capture: Capture, value: object, form: str
) -> None:
    log = new_logger(stream=capture.stream, format="pretty" if form == "pretty" else "json")
    log.info("x", value=value, after=1)
    (line,) = capture.lines()
    assert "after" in line


def test_an_error_whose_text_cannot_be_had_is_still_logged(capture: Capture, log: Log) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    log.error("x", error=raised(Mute()))
    assert capture.record()["error"] == "<Mute>"


def test_a_message_that_is_no_text_is_shown_as_one(capture: Capture, log: Log) -> None:
    log.info(ValueError("not a str"))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert capture.record()["msg"] == "not a str"


def test_a_list_that_holds_itself_is_cut(capture: Capture, log: Log) -> None:
    loop: list[object] = []
    loop.append(loop)
    log.info("x", loop=loop)
    assert capture.record()["loop"] == [[[[[["…"]]]]]]


def test_a_closed_pipe_does_not_end_the_process() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        log = new_logger(stream=stream, format="json")
        log.info("read")
        assert os.read(reading, 1000).endswith(b"\n")
        os.close(reading)
        log.info("lost")
        log.info("lost as well")
        # Leaving the block flushes what the stream still holds: that must not raise either.


def test_a_closed_stream_drops_records(capture: Capture, log: Log) -> None:
    capture.stream.close()
    log.info("x")


def test_a_full_disk_drops_the_record_and_not_the_next() -> None:
    class Disk(io.BytesIO):
        full = True

        def flush(self) -> None:
            if self.full:
                raise OSError(28, "No space left on device")

    disk = Disk()
    log = new_logger(stream=io.TextIOWrapper(disk), format="json")
    log.info("lost")
    disk.full = False
    disk.truncate(0)
    log.info("kept")
    assert b"kept" in disk.getvalue()
