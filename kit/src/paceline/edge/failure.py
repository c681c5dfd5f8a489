"""The level at which a failed request is logged.

A deadline that the client imposed is a warning: any client can ask for a millisecond. All else that
reaches the log is an error.
"""

from collections.abc import Callable

from paceline.concurrency import DeadlineExceeded
from paceline.log import Level, Logger


def failure_level(exc: BaseException) -> Level:
    """The level of a request's failure."""
    imposed = isinstance(exc, DeadlineExceeded) and exc.client_imposed
    return "warning" if imposed else "error"


def failure_log(log: Logger, exc: BaseException) -> Callable[..., object]:
    """The method of ``log`` that a request's failure is written with."""
    return log.warning if failure_level(exc) == "warning" else log.error
