"""A failure of the queue, or on the way to it, whichever broker it is.

Invariant: the message never holds the broker's own text, which may quote subjects or topics. That
text is in the error's cause and notes, which go to the log.
"""

from typing import Final

from paceline.errors import Code, Error

_MESSAGES: Final = {
    Code.INVALID_ARGUMENT: "the queue does not take this",
    Code.DEADLINE_EXCEEDED: "the queue did not answer in time",
    Code.NOT_FOUND: "the queue has no such thing",
    Code.PERMISSION_DENIED: "the queue refuses these credentials",
    Code.UNAUTHENTICATED: "the queue refuses these credentials",
    Code.ABORTED: "the queue has something else of this name",
    Code.RESOURCE_EXHAUSTED: "the queue is full",
    Code.UNAVAILABLE: "the queue is not reachable",
}


class QueueError(Error):
    """A failure of the queue. Without a ``message`` it has the usual one of its code."""

    def __init__(self, code: Code, message: str | None = None) -> None:
        super().__init__(code, message or _MESSAGES.get(code, "the queue failed"))
