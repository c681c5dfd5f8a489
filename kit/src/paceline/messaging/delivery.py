"""One delivery of a message by a broker, and what is to become of it.

A message may be delivered more than once; `Delivery.attempt` counts those that failed, and this
one, while `Delivery.deliveries` counts all the broker knows of, the interrupted ones too.
Compared by identity: two deliveries of one message are two. Made by a source, judged by
``verdict``.
"""

from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """As it came. ``receipt`` is the source's: how to speak of this delivery to the broker."""

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
    RETURN = "return"
    """It was interrupted: deliver it again at once, as the same attempt."""
    BURY = "bury"
    """It cannot be handled: keep it as a dead letter."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """A verdict; ``delay`` (seconds) for RETRY, ``error`` for RETRY and BURY."""

    delivery: Delivery
    verdict: Disposition
    delay: float = 0.0
    error: Exception | None = None
