"""The error of an embedded engine, whose message says what to do.

One type for all failures, because no caller distinguishes them: the command line prints the message
and exits. The message may name paths and pids: it is for the developer at the terminal, never for
a client of the service.
"""

from paceline.errors import Code, Error


class EngineError(Error):
    """An embedded engine cannot start, or has died."""

    kind = "engine"

    def __init__(self, message: str) -> None:
        super().__init__(Code.FAILED_PRECONDITION, message)
