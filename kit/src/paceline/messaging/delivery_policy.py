"""From a handler's outcome to what becomes of the message: the queue's table of `Code`.

Codes that say that the message itself is at fault, and will be tomorrow, make it a dead letter at
once. All others are tried again, up to ``max_attempts``. `TRANSIENT` codes, when a whole batch
raises them, say that a dependency is down, and do not count as attempts (``processor``); a handler
that returns one for a single message means that message.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from paceline._ranges import check_ranges
from paceline.errors import Code, Error
from paceline.log import Logger
from paceline.messaging.delivery import Delivery, Disposition, Settlement

DISPOSITIONS: Final = {
    Code.OK: Disposition.RETRY,  # no error has this code
    Code.CANCELLED: Disposition.RETRY,
    Code.UNKNOWN: Disposition.RETRY,
    Code.INVALID_ARGUMENT: Disposition.DEAD_LETTER,
    Code.DEADLINE_EXCEEDED: Disposition.RETRY,
    Code.NOT_FOUND: Disposition.RETRY,  # another message may create it
    Code.ALREADY_EXISTS: Disposition.DEAD_LETTER,
    Code.PERMISSION_DENIED: Disposition.DEAD_LETTER,
    Code.RESOURCE_EXHAUSTED: Disposition.RETRY,
    Code.FAILED_PRECONDITION: Disposition.DEAD_LETTER,
    Code.ABORTED: Disposition.RETRY,
    Code.OUT_OF_RANGE: Disposition.DEAD_LETTER,
    Code.UNIMPLEMENTED: Disposition.DEAD_LETTER,
    Code.INTERNAL: Disposition.RETRY,
    Code.UNAVAILABLE: Disposition.RETRY,
    Code.DATA_LOSS: Disposition.DEAD_LETTER,
    Code.UNAUTHENTICATED: Disposition.DEAD_LETTER,
}
"""What becomes of a message that failed with a code, while it has attempts left."""

TRANSIENT: Final = frozenset({Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.ABORTED})
"""Raised for a whole batch, these are no message's fault."""

_LONGEST_DELAY: Final = 3600.0
_POISON_FACTOR: Final = 10


class UndecodableMessage(Error):
    """The data are not what the consumer's type says."""

    kind: ClassVar[str] = "undecodable"

    def __init__(self) -> None:
        super().__init__(Code.INVALID_ARGUMENT, "the message cannot be decoded")


class PoisonMessage(Error):
    """Delivered many times without an outcome: it seems to kill the process that handles it."""

    kind: ClassVar[str] = "poison-message"

    def __init__(self, deliveries: int) -> None:
        super().__init__(Code.INTERNAL, f"delivered {deliveries} times without an outcome")


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """How often and when a message is tried.

    ``max_attempts`` in all; ``retry_delay`` seconds after the first failure, ``backoff`` times as
    long after each further one, an hour at most. Errors: ValueError for a value that cannot work.
    """

    max_attempts: int = 5
    retry_delay: float = 5.0
    backoff: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot work. Errors: ValueError."""
        check_ranges(self, positive=("max_attempts",), not_negative=("retry_delay", "backoff"))

    def check_deliveries(self, delivery: Delivery) -> None:
        """Refuse what was delivered ten times as often as it may fail. Errors: `PoisonMessage`."""
        if delivery.deliveries > _POISON_FACTOR * self.max_attempts:
            raise PoisonMessage(delivery.deliveries)

    def settlement(self, delivery: Delivery, outcome: Exception | None) -> Settlement:
        """What becomes of a delivery with this outcome; None: its effect is committed."""
        if outcome is None:
            return Settlement(delivery, Disposition.ACK)
        code = outcome.code if isinstance(outcome, Error) else Code.UNKNOWN
        disposition = DISPOSITIONS[code]
        if disposition is Disposition.DEAD_LETTER or delivery.attempt >= self.max_attempts:
            return Settlement(delivery, Disposition.DEAD_LETTER, error=outcome)
        delay = self.retry_delay * self.backoff ** (delivery.attempt - 1)
        return Settlement(delivery, Disposition.RETRY, min(delay, _LONGEST_DELAY), outcome)


def log_failures(log: Logger, consumer: str, settlements: Sequence[Settlement]) -> None:
    """Log each dead letter, and the retries of a batch in one line."""
    retried = [each for each in settlements if each.disposition is Disposition.RETRY]
    if retried:
        first = retried[0]
        log.warning(
            "messages failed, to be tried again",
            consumer=consumer,
            count=len(retried),
            id=first.delivery.id,
            attempt=first.delivery.attempt,
            delay=first.delay,
            error=first.error,
        )
    for each in settlements:
        if each.disposition is Disposition.DEAD_LETTER:
            log.error(
                "message dead-lettered",
                consumer=consumer,
                id=each.delivery.id,
                subject=each.delivery.subject,
                attempts=each.delivery.attempt,
                error=each.error,
            )
