"""Kafka's failures in the kit's terms: the client's exceptions, the broker's refusals among them.

Invariant: one table, the most special type first; what it does not know and may pass by itself is
UNAVAILABLE, the rest INTERNAL. A message never holds the broker's own text, which may quote topics:
that is the ``__cause__``'s. Used by all ``kafka`` modules; proved complete by the unit tests.
"""

from typing import Final

from aiokafka import errors

from paceline.errors import Code, Error
from paceline.messaging.nats import QueueError

CLIENT: Final[tuple[tuple[type[Exception], Code], ...]] = (
    (errors.MessageSizeTooLargeError, Code.INVALID_ARGUMENT),
    (errors.RecordTooLargeError, Code.INVALID_ARGUMENT),
    (errors.RecordListTooLargeError, Code.INVALID_ARGUMENT),
    (errors.InvalidTopicError, Code.INVALID_ARGUMENT),
    (errors.CorruptRecordException, Code.INVALID_ARGUMENT),
    (errors.InvalidTimestampError, Code.INVALID_ARGUMENT),
    (errors.TopicAuthorizationFailedError, Code.PERMISSION_DENIED),
    (errors.GroupAuthorizationFailedError, Code.PERMISSION_DENIED),
    (errors.ClusterAuthorizationFailedError, Code.PERMISSION_DENIED),
    (errors.AuthenticationFailedError, Code.UNAUTHENTICATED),
    (errors.SaslAuthenticationFailed, Code.UNAUTHENTICATED),
    (errors.UnsupportedSaslMechanismError, Code.UNAUTHENTICATED),
    (errors.QuotaViolationError, Code.RESOURCE_EXHAUSTED),
    (errors.UnknownTopicOrPartitionError, Code.UNAVAILABLE),
    (errors.CommitFailedError, Code.ABORTED),
    (errors.IllegalStateError, Code.ABORTED),
    (errors.IllegalGenerationError, Code.ABORTED),
    (errors.UnknownMemberIdError, Code.ABORTED),
    (errors.RebalanceInProgressError, Code.ABORTED),
    (errors.KafkaUnavailableError, Code.UNAVAILABLE),
    (errors.BrokerNotAvailableError, Code.UNAVAILABLE),
    (errors.ReplicaNotAvailableError, Code.UNAVAILABLE),
    (errors.ConsumerStoppedError, Code.UNAVAILABLE),
    (errors.KafkaTimeoutError, Code.DEADLINE_EXCEEDED),
    (errors.RequestTimedOutError, Code.DEADLINE_EXCEEDED),
    (TimeoutError, Code.DEADLINE_EXCEEDED),
    (OSError, Code.UNAVAILABLE),
)


def translate(exc: Exception) -> Error:
    """The `Error` to raise ``from`` what the client raised; an `Error` is its own translation."""
    if isinstance(exc, Error):
        return exc
    for kind, code in CLIENT:
        if isinstance(exc, kind):
            return QueueError(code)
    passing = isinstance(exc, errors.KafkaError) and exc.retriable
    return QueueError(Code.UNAVAILABLE if passing else Code.INTERNAL)
