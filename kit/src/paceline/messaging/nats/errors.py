"""NATS' failures in the kit's terms: the client's exceptions, and JetStream's numbered refusals.

Invariant: one table for the client, the most special type first, one for JetStream's status codes;
what neither knows is INTERNAL, and a message never holds the server's own text, which may quote
subjects. It is the ``__cause__``'s. Used by ``nats_connection`` and ``nats``; proved complete by
the unit tests.
"""

from typing import Final

import nats.errors
import nats.js.errors

from paceline.errors import Code, Error

# JetStream's error numbers that mean something to this room.
STREAM_NAME_IN_USE: Final = 10058
STREAM_NOT_FOUND: Final = 10059
CONSUMER_NOT_FOUND: Final = 10014

_MESSAGES: Final = {
    Code.INVALID_ARGUMENT: "the queue does not take this",
    Code.DEADLINE_EXCEEDED: "the queue did not answer in time",
    Code.NOT_FOUND: "the queue has no such thing",
    Code.PERMISSION_DENIED: "the queue refuses these credentials",
    Code.UNAUTHENTICATED: "the queue refuses these credentials",
    Code.ABORTED: "the queue has something else of this name",
    Code.RESOURCE_EXHAUSTED: "the queue is full",
    Code.UNAVAILABLE: "the queue is not reachable",
    Code.INTERNAL: "the queue failed",
}

CLIENT: Final[tuple[tuple[type[Exception], Code], ...]] = (
    (nats.errors.BadSubjectError, Code.INVALID_ARGUMENT),
    (nats.errors.BadHeaderError, Code.INVALID_ARGUMENT),
    (nats.errors.MaxPayloadError, Code.INVALID_ARGUMENT),
    (nats.errors.AuthorizationError, Code.UNAUTHENTICATED),
    (nats.errors.InvalidUserCredentialsError, Code.UNAUTHENTICATED),
    (nats.errors.OutboundBufferLimitError, Code.UNAVAILABLE),
    (nats.errors.NoRespondersError, Code.UNAVAILABLE),
    (nats.errors.NoServersError, Code.UNAVAILABLE),
    (nats.errors.ConnectionClosedError, Code.UNAVAILABLE),
    (nats.errors.ConnectionDrainingError, Code.UNAVAILABLE),
    (nats.errors.ConnectionReconnectingError, Code.UNAVAILABLE),
    (nats.errors.StaleConnectionError, Code.UNAVAILABLE),
    (nats.errors.ProtocolError, Code.UNAVAILABLE),
    (nats.js.errors.NoStreamResponseError, Code.UNAVAILABLE),
    (TimeoutError, Code.DEADLINE_EXCEEDED),
    (nats.errors.Error, Code.INTERNAL),
    (OSError, Code.UNAVAILABLE),
)

STATUSES: Final = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    408: Code.DEADLINE_EXCEEDED,
    409: Code.ABORTED,
    429: Code.RESOURCE_EXHAUSTED,
    500: Code.INTERNAL,
    503: Code.UNAVAILABLE,
}

# Refusals whose status says too little: the limits of a stream or of an account.
_FULL: Final = frozenset({10023, 10028, 10047, 10054, 10077})


class QueueError(Error):
    """A failure of the queue, or on the way to it.

    ``number`` is JetStream's, None when it was not JetStream that reported it.
    """

    def __init__(
        self, code: Code, message: str | None = None, *, number: int | None = None
    ) -> None:
        super().__init__(code, message or _MESSAGES.get(code, "the queue failed"))
        self.number = number


def translate(exc: Exception) -> Error:
    """The `Error` to raise ``from`` what the client raised; an `Error` is its own translation."""
    if isinstance(exc, Error):
        return exc
    return QueueError(next((code for kind, code in CLIENT if isinstance(exc, kind)), Code.INTERNAL))


def refusal(status: int, number: int, description: str) -> QueueError:
    """The error for what JetStream answered; its text goes to the log as a note."""
    code = Code.RESOURCE_EXHAUSTED if number in _FULL else STATUSES.get(status, Code.INTERNAL)
    error = QueueError(code, number=number)
    if description:
        error.add_note(f"jetstream {status}/{number}: {description}")
    return error
