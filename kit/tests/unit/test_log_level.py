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


def test_the_standard_librarys_extra_and_stack_are_fields(capture: Capture) -> None:
    root = logging.getLogger("a third root")
    root.propagate = False
    route_standard_logging(Output(ManualClock(), capture.stream, format="json"), "info", root)
    logger = logging.getLogger("a third root.x")
    logger.info("m", extra={"item_id": 42, "password": "hunter2", "logger": "mine"})
    logger.info("where", stack_info=True)
    first, second = capture.records()
    shown = {name: first[name] for name in ("msg", "item_id", "password", "logger")}
    assert shown == {"msg": "m", "item_id": 42, "password": "***", "logger": "a third root.x"}
    assert first["fields.logger"] == "mine"
    assert "test_the_standard_librarys_extra" in str(second["stack_info"])
    assert "taskName" not in first
