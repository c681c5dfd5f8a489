"""The settings that every consumer has, whatever the broker.

What only one broker knows, such as a durable's name or a session timeout, is in its subscription.
"""

from dataclasses import dataclass, field

from paceline._ranges import check_ranges
from paceline.messaging.delivery_policy import DeliveryPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSettings:
    """How a consumer fetches and handles messages. Times are in seconds.

    Example: ``ConsumerSettings(batch=50, policy=DeliveryPolicy(max_attempts=3))``.
    Errors: ``ValueError`` for a value that cannot work.
    """

    batch: int = 256
    """Messages in one call of the handler, at most."""
    concurrency: int = 2
    """Calls of the handler at once. Messages of one key are never in two at once."""
    policy: DeliveryPolicy = field(default_factory=DeliveryPolicy)
    """How often and when a message that failed is tried again."""
    handler_timeout: float = 60.0
    """How long one call may take; the handler sees it as its ambient deadline."""
    heartbeat: float = 5.0
    """How often the broker gives a sign of life; after three without one, `ready` fails."""
    start_timeout: float = 5.0
    """How long `start` waits for the first answer of the broker, whatever it is."""
    stop_timeout: float = 20.0
    """How long `stop` waits for the batches in hand; less under an ambient deadline."""

    def __post_init__(self) -> None:
        """Refuse a consumer that could not handle anything."""
        check_ranges(
            self,
            positive=("batch", "concurrency", "handler_timeout", "heartbeat"),
            not_negative=("start_timeout", "stop_timeout"),
        )
