"""NATS' failures in the kit's terms: the client's exceptions, and JetStream's numbered refusals.

Invariant: there is one table for the client's exceptions, the most specific type first, and one for
JetStream's status codes; what is in neither is INTERNAL. The tests hold both tables complete.
"""

from typing import Final

import nats.errors
import nats.js.errors

from paceline.errors import Code, Error
from paceline.messaging.errors import QueueError

STREAM_NAME_IN_USE: Final = 10058
STREAM_NOT_FOUND: Final = 10059
"""JetStream's number for a stream that does not exist."""
CONSUMER_NOT_FOUND: Final = 10014
"""JetStream's number for a consumer that does not exist."""

MESSAGE_NOT_FOUND: Final = 10037

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

# Numbers whose status says too little: the limits of a stream or of an account are reached.
_FULL: Final = frozenset({10023, 10028, 10047, 10054, 10077})


class JetStreamError(QueueError):
    """What JetStream refused. ``number`` is its own, such as `STREAM_NOT_FOUND`."""

    def __init__(self, code: Code, number: int) -> None:
        super().__init__(code)
        self.number = number


class NoStream(QueueError):
    """Nobody answered, since no stream takes the subject."""

    def __init__(self) -> None:
        super().__init__(Code.UNAVAILABLE, "no stream takes this subject")


def translate(exc: Exception) -> Error:
    """The `Error` to raise ``from`` what the client raised; an `Error` is its own translation."""
    if isinstance(exc, Error):
        return exc
    return QueueError(next((code for kind, code in CLIENT if isinstance(exc, kind)), Code.INTERNAL))


def refusal(status: int, number: int, description: str) -> JetStreamError:
    """The error for what JetStream answered; its text is a note, for the log."""
    code = Code.RESOURCE_EXHAUSTED if number in _FULL else STATUSES.get(status, Code.INTERNAL)
    error = JetStreamError(code, number)
    if description:
        error.add_note(f"jetstream {status}/{number}: {description}")
    return error
