"""The level of a running process: changed in one place, for everything that writes."""

import logging

import pytest
from log_capture import Capture

from paceline.log import new_logger, record_writer
from paceline.log.logger import logger_on
from paceline.log.output import Output
from paceline.log.stdlib import route_standard_logging
from paceline.testing.clock import ManualClock


@pytest.fixture
def capture() -> Capture:
    return Capture()


def test_the_level_changes_while_it_runs_for_every_logger_on_the_output(capture: Capture) -> None:
    log = new_logger("info", stream=capture.stream, format="json")
    bound = log.bind(component="a")
    written = record_writer(log, "debug", "by a writer", "n")
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
    assert capture.messages() == ["2", "by a writer", "4"]


def test_the_standard_librarys_logging_follows_the_level(capture: Capture) -> None:
    root = logging.getLogger("another root")
    root.propagate = False
    output = Output(ManualClock(), capture.stream, format="json")
    route_standard_logging(output, "info", root)
    log = logger_on(output, "info")
    root.debug("1")
    log.set_level("debug")
    root.debug("2")
    assert capture.messages() == ["2"]
