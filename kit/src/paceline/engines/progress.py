"""The steps of an engine's start, for a terminal or for the log.

Each step ("starting NATS 2.15") goes to the ``progress`` callback of the engine when there is one,
and into the log otherwise, under one event for all engines.
"""

from collections.abc import Callable

from paceline.log import Logger


def step_reporter(log: Logger, progress: Callable[[str], None] | None) -> Callable[[str], None]:
    """A function that receives each step's text: ``progress``, or one that logs it."""
    if progress is not None:
        return progress

    def log_step(text: str) -> None:
        log.info("embedded engine", step=text)

    return log_step
