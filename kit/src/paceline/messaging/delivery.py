"""One delivery of a message by a broker, and what becomes of it.

A message may be delivered more than once. `Delivery.attempt` counts the deliveries that failed, and
this one; `Delivery.deliveries` counts all that the broker knows of, those that a stop or a crash
interrupted included. Deliveries are compared by identity: two of one message are two.
"""

from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A message as it came. ``receipt`` identifies the delivery to the source that fetched it."""

    id: str
    subject: str
    data: bytes
    receipt: str
    attempt: int = 1
    deliveries: int = 1
    key: str = ""
    headers: dict[str, str] = field(default_factory=dict[str, str])


class Disposition(Enum):
    """What becomes of a delivery."""

    ACK = "ack"
    """Its effect is committed."""
    RETRY = "retry"
    """It failed: deliver it again after a delay, as the next attempt."""
    REQUEUE = "requeue"
    """It was interrupted: deliver it again at once, as the same attempt."""
    DEAD_LETTER = "dead-letter"
    """It cannot be handled: store it as a dead letter."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """A delivery and its disposition. ``delay`` (seconds) is for RETRY.

    ``error`` is for RETRY and DEAD_LETTER.
    """

    delivery: Delivery
    disposition: Disposition
    delay: float = 0.0
    error: Exception | None = None
