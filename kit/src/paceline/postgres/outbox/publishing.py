"""A batch of the outbox on its way into the queue: of each key, one message at a time.

Invariant: a message is handed to the publisher only after the one before it, of the same key, was
acknowledged. A pipeline that sent both at once would let the second overtake when only the first
fails. Most keys in a batch are different, and messages without a key never wait, so there is nearly
always one round. What was neither sent nor failed was not tried.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from paceline.messaging import Message
from paceline.postgres.outbox.table import OutboxRow


class Publisher(Protocol):
    """The queue, as `paceline.messaging.nats.NatsBus` is."""

    async def publish_all(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
        """Publish and wait; one outcome each, None for what the queue has acknowledged."""
        ...


@dataclass(frozen=True, slots=True)
class PublishResult:
    """What became of a batch. What failed may be in the queue or not."""

    sent: list[OutboxRow] = field(default_factory=list[OutboxRow])
    failed: list[tuple[OutboxRow, Exception]] = field(
        default_factory=list[tuple[OutboxRow, Exception]]
    )


async def publish_by_key(
    publisher: Publisher, rows: Sequence[OutboxRow], seconds: float
) -> PublishResult:
    """Publish a batch within ``seconds``; what is under way when they are over has failed.

    Raises nothing but a cancellation: whatever the publisher raises is the outcome of its round.
    """
    result = PublishResult()
    until = asyncio.get_running_loop().time() + seconds
    queues = _by_key(rows)
    while queues:
        heads = [queue.popleft() for queue in queues]
        outcomes = await _publish(publisher, heads, until)
        for row, outcome in zip(heads, outcomes, strict=True):
            if outcome is None:
                result.sent.append(row)
            else:
                result.failed.append((row, outcome))
        pairs = zip(queues, outcomes, strict=True)
        queues = [queue for queue, outcome in pairs if queue and outcome is None]
    return result


def _by_key(rows: Sequence[OutboxRow]) -> list[deque[OutboxRow]]:
    """The messages of each key in a queue of their own; each one without a key, too."""
    queues: dict[str | int, deque[OutboxRow]] = {}
    for row in rows:
        queues.setdefault(row.message.key or row.position, deque()).append(row)
    return [*queues.values()]


async def _publish(
    publisher: Publisher, rows: Sequence[OutboxRow], until: float
) -> Sequence[Exception | None]:
    try:
        async with asyncio.timeout_at(until):
            outcomes = await publisher.publish_all([row.message for row in rows])
    except Exception as exc:  # noqa: BLE001 - whatever it is, these are not known as sent
        return [exc] * len(rows)
    if len(outcomes) != len(rows):
        return [RuntimeError(f"{len(outcomes)} outcomes for {len(rows)} messages")] * len(rows)
    return outcomes
