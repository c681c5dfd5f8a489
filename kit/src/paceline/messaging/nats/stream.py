"""What a stream is, and what is consumed of it, as a service states them.

Invariant: nothing of the client library is imported, for processes that use no queue import the
streams, too, with the handlers beside them.
"""

from dataclasses import dataclass

import msgspec


class Stream(msgspec.Struct, frozen=True):
    """A stream: stored in files, by default without limits.

    ``replicas``: with 3, no message is lost with one server of three. ``duplicate_window`` and
    ``max_age`` are seconds (0: no limit); ``max_bytes`` and ``max_per_subject`` are limits, -1 for
    none.
    """

    name: str
    subjects: tuple[str, ...]
    replicas: int = 1
    duplicate_window: float = 120.0
    max_age: float = 0.0
    max_bytes: int = -1
    max_per_subject: int = -1


@dataclass(frozen=True, slots=True)
class NatsSubscription:
    """What is consumed: the ``subjects`` of ``stream``, by the durable consumer ``durable``."""

    stream: str
    subjects: tuple[str, ...]
    durable: str
    ack_wait: float = 30.0
    """Seconds after which a delivery goes to another process, unless it is extended."""
    max_ack_pending: int = 20_000
    """Deliveries that are not settled, of all processes together, at most."""
    replicas: int = 1
    """Of the streams that the consumer creates: dead letters, and counts of failures."""
    position_interval: float = 10.0
    """How often the consumer's position is noted, in seconds, to go on there if it is deleted."""
