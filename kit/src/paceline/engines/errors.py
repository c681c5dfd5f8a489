"""What goes wrong with an engine, in words that tell the reader what to do.

One type for all of it: nobody handles these apart, the command line prints the message and ends.
The message may name paths and pids: it goes to the person who typed ``run``, never to a client
of the service. Raised all over this room.
"""

from paceline.errors import Code, Error


class EngineError(Error):
    """An embedded engine cannot start, or has died."""

    kind = "engine"

    def __init__(self, message: str) -> None:
        super().__init__(Code.FAILED_PRECONDITION, message)
