"""The level at which a failed request is logged.

A deadline that the client imposed is a warning: any client can ask for a millisecond. All else that
reaches the log is an error.
"""

from collections.abc import Callable

from paceline.concurrency import DeadlineExceeded
from paceline.log import Logger


def failure_log(log: Logger, exc: BaseException) -> Callable[..., object]:
    """The method of ``log`` that a request's failure is written with."""
    if isinstance(exc, DeadlineExceeded) and exc.client_imposed:
        return log.warning
    return log.error
