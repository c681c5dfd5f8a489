"""The level of a running process: changed in one place, for everything that writes."""

import io
import json
import logging

import pytest

from paceline.log import new_logger, prepared
from paceline.log.logger import logger_on
from paceline.log.output import Output
from paceline.log.stdlib import route_standard_logging
from paceline.testing.clock import ManualClock


class Capture:
    """A stream in memory and the records on it."""

    def __init__(self) -> None:
        self.buffer = io.BytesIO()
        self.stream = io.TextIOWrapper(self.buffer, encoding="utf-8")

    def messages(self) -> list[str]:
        return [json.loads(line)["msg"] for line in self.buffer.getvalue().splitlines()]


@pytest.fixture
def capture() -> Capture:
    return Capture()


def test_the_level_changes_while_it_runs_for_every_logger_on_the_output(capture: Capture) -> None:
    log = new_logger("info", stream=capture.stream, format="json")
    bound = log.bind(component="a")
    written = prepared(log, "debug", "made ready", "n")
    log.debug("1")
    written(1)
    log.set_level("debug")
    assert (log.level, bound.level) == ("debug", "debug")
    bound.debug("2")
    written(2)
    log.set_level("error")
    bound.warning("3")
    written(3)
    log.error("4")
    assert capture.messages() == ["2", "made ready", "4"]


def test_the_standard_librarys_logging_goes_along_with_the_level(capture: Capture) -> None:
    root = logging.getLogger("another root")
    root.propagate = False
    output = Output(ManualClock(), capture.stream, format="json")
    route_standard_logging(output, "info", root)
    log = logger_on(output, "info")
    root.debug("1")
    log.set_level("debug")
    root.debug("2")
    assert capture.messages() == ["2"]
