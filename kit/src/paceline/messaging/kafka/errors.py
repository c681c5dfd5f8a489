"""Kafka's failures in the kit's terms: the client's exceptions, the broker's refusals among them.

Invariant: there is one table, the most specific type first; what is not in it is UNAVAILABLE if the
client says that it may be retried, and INTERNAL otherwise. The tests hold the table complete.
"""

from typing import Final

from aiokafka import errors

from paceline.errors import Code, Error
from paceline.messaging.errors import QueueError

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
    retriable = isinstance(exc, errors.KafkaError) and exc.retriable
    return QueueError(Code.UNAVAILABLE if retriable else Code.INTERNAL)
