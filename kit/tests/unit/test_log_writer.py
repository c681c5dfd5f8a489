"""Record writers: a line of theirs is the line of the logger's own method, whatever the values."""

import io
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.errors import NotFound
from paceline.log import Level, Log, context_fields, new_logger, record_writer
from paceline.testing import RecordingLog
from paceline.testing.clock import ManualClock

_CALL_SITE = re.compile(rb'"source":\{[^}]*\},|\([\w/]+\.py:\d+\)')
_VALUES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["\ud800", "a\nb", "password=x", "x" * 5000, "", "é\x00"]),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.none(),
    st.binary(max_size=4),
    st.lists(st.integers(), max_size=2),
    st.builds(NotFound, st.just("record 7")),
)


def lines_of(
    level: Level,
    values: Mapping[str, object],
    *,
    bound: Mapping[str, object],
    around: Mapping[str, object],
    style: Literal["json", "pretty"],
    way: Literal["writer", "method"],
) -> list[bytes]:
    """What one way of writing it leaves on the stream, without the call site, which differs."""
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="utf-8")
    clock = ManualClock(1_700_000_000.25)
    log = new_logger("info", stream=stream, format=style, clock=clock).bind(**bound)
    method = {"debug": log.debug, "info": log.info, "warning": log.warning, "error": log.error}
    with context_fields(**around) if around else ExitStack():
        if way == "writer":
            record_writer(log, level, "an event", *values)(*values.values())
        else:
            method[level]("an event", **values)
    return [_CALL_SITE.sub(b"", line) for line in buffer.getvalue().splitlines()]


@dataclass(frozen=True)
class Case:
    """A record that a record writer must treat with care."""

    name: str
    values: Mapping[str, object] = field(default_factory=lambda: {"status": 200, "path": "/a"})
    level: Level = "info"
    bound: Mapping[str, object] = field(default_factory=dict[str, object])
    around: Mapping[str, object] = field(default_factory=dict[str, object])


CASES = [
    Case("the usual one"),
    Case("below the level", level="debug"),
    Case("an urgent one", level="error"),
    Case("with bound fields", bound={"component": "web", "n": 1}),
    Case("with context fields", around={"request_id": "r-1"}),
    Case("with both", bound={"component": "web"}, around={"request_id": "r-1"}),
    Case("a bound field of the same name", bound={"status": "bound"}),
    Case("an context field of the same name", around={"status": "context"}),
    Case("an context field named as a bound one", bound={"a": 1}, around={"a": 2}),
    Case("a field named as the record's own", values={"msg": "hidden", "time": 0}),
    Case("an context field named as the record's own", around={"level": "hidden"}),
    Case("a secret", values={"password": "hunter2", "status": 200}),
    Case("a context secret", around={"token": "hunter2"}),
    Case("a bound secret", bound={"token": "hunter2"}),
    Case("an error", values={"error": NotFound("record 7")}),
    Case("exc_info", values={"exc_info": True}),
    Case("a lone surrogate", values={"path": "\udce9"}),
    Case("no number", values={"took": float("nan")}),
    Case("no fields", values={}),
]


@pytest.mark.parametrize("style", ["json", "pretty"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_writers_record_is_the_loggers_own(case: Case, style: Literal["json", "pretty"]) -> None:
    ways = [
        lines_of(
            case.level, case.values, bound=case.bound, around=case.around, style=style, way=way
        )
        for way in ("writer", "method")
    ]
    assert ways[0] == ways[1]
    assert bool(ways[0]) is (case.level != "debug")


@given(st.lists(_VALUES, min_size=3, max_size=3), st.lists(_VALUES, max_size=2))
def test_any_value_is_written_as_the_logger_writes_it(
    values: list[object], around: list[object]
) -> None:
    fields = dict(zip(["method", "path", "status"], values, strict=True))
    around_fields = {f"field{number}": value for number, value in enumerate(around)}
    ways = [
        lines_of("info", fields, bound={"a": 1}, around=around_fields, style="json", way=way)
        for way in ("writer", "method")
    ]
    assert ways[0] == ways[1]


def test_the_call_site_is_where_the_writer_was_made() -> None:
    buffer = io.BytesIO()
    log: Log = new_logger("info", stream=io.TextIOWrapper(buffer, encoding="utf-8"), format="json")
    record_writer(log, "info", "an event", "status")(200)
    assert b"test_log_writer" in buffer.getvalue()


def test_another_logger_gets_the_call_itself() -> None:
    log = RecordingLog()
    record_writer(log, "warning", "an event", "status", "path")(200, "/a")
    assert log.lines == [("warning", "an event", {"status": 200, "path": "/a"})]
