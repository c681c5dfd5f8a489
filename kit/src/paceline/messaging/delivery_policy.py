"""From an outcome to what becomes of the message: the queue's table of `Code`.

FINAL codes say that the message itself is at fault and will be tomorrow: buried at once. All
others are tried again, up to ``max_deliver`` attempts. WORLDLY ones speak of the world when a whole
batch raises them, and then count for nobody (``consumer``); a handler that returns one for an item
means that item. Read ``dead`` for what a burial keeps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from paceline.errors import Code, Error
from paceline.log import Logger
from paceline.messaging.delivery import Delivery, Disposition, Settlement

OUTCOMES: Final = {
    Code.OK: Disposition.RETRY,  # no error has this code
    Code.CANCELLED: Disposition.RETRY,
    Code.UNKNOWN: Disposition.RETRY,
    Code.INVALID_ARGUMENT: Disposition.BURY,
    Code.DEADLINE_EXCEEDED: Disposition.RETRY,
    Code.NOT_FOUND: Disposition.RETRY,  # it may be on its way, in another message
    Code.ALREADY_EXISTS: Disposition.BURY,
    Code.PERMISSION_DENIED: Disposition.BURY,
    Code.RESOURCE_EXHAUSTED: Disposition.RETRY,
    Code.FAILED_PRECONDITION: Disposition.BURY,
    Code.ABORTED: Disposition.RETRY,
    Code.OUT_OF_RANGE: Disposition.BURY,
    Code.UNIMPLEMENTED: Disposition.BURY,
    Code.INTERNAL: Disposition.RETRY,
    Code.UNAVAILABLE: Disposition.RETRY,
    Code.DATA_LOSS: Disposition.BURY,
    Code.UNAUTHENTICATED: Disposition.BURY,
}
"""What becomes of a message that failed with a code."""

TRANSIENT: Final = frozenset({Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.ABORTED})
"""Raised for a whole batch, these are nobody's fault."""

_LONGEST_DELAY: Final = 3600.0
_TIRELESS: Final = 10


class Undecodable(Error):
    """The data are not what the consumer's type says."""

    kind: ClassVar[str] = "undecodable"

    def __init__(self) -> None:
        super().__init__(Code.INVALID_ARGUMENT, "the message cannot be decoded")


class PoisonMessage(Error):
    """Delivered again and again, and nobody lived to tell what became of it."""

    kind: ClassVar[str] = "deadly"

    def __init__(self, deliveries: int) -> None:
        message = f"delivered {deliveries} times, and no handler has ended"
        super().__init__(Code.INTERNAL, message)


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """How often and when a message is tried.

    ``max_deliver`` attempts in all; ``nak_delay`` seconds after the first failure, ``backoff``
    times as long after each further one, an hour at most.
    """

    max_deliver: int = 5
    nak_delay: float = 5.0
    backoff: float = 1.0

    def admit(self, delivery: Delivery) -> None:
        """Refuse what seems to kill whoever handles it. Errors: `PoisonMessage`."""
        if delivery.deliveries > _TIRELESS * self.max_deliver:
            raise PoisonMessage(delivery.deliveries)

    def settlement(self, delivery: Delivery, outcome: Exception | None) -> Settlement:
        """What becomes of a delivery with this outcome."""
        if outcome is None:
            return Settlement(delivery, Disposition.ACK)
        verdict = OUTCOMES[outcome.code] if isinstance(outcome, Error) else Disposition.RETRY
        if verdict is Disposition.BURY or delivery.attempt >= self.max_deliver:
            return Settlement(delivery, Disposition.BURY, error=outcome)
        delay = self.nak_delay * self.backoff ** (delivery.attempt - 1)
        return Settlement(delivery, Disposition.RETRY, min(delay, _LONGEST_DELAY), outcome)

    def tell(self, log: Logger, consumer: str, settlements: Sequence[Settlement]) -> None:
        """Log each burial, and those to be tried again together: a batch is one line."""
        again = [each for each in settlements if each.verdict is Disposition.RETRY]
        if again:
            first = again[0]
            log.warning(
                "messages failed, to be tried again",
                consumer=consumer,
                count=len(again),
                id=first.delivery.id,
                attempt=first.delivery.attempt,
                delay=first.delay,
                error=first.error,
            )
        for each in settlements:
            if each.verdict is Disposition.BURY:
                log.error(
                    "message buried",
                    consumer=consumer,
                    id=each.delivery.id,
                    subject=each.delivery.subject,
                    attempts=each.delivery.attempt,
                    error=each.error,
                )
