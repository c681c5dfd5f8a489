"""A batch on its way into the queue, in rounds: of each key one message is out at a time.

Invariant: a message is handed to the publisher only after the one before it, of the same key, was
acknowledged. A pipeline that sent both at once would let the second one pass when only the first
fails. Keys differ nearly always, and messages without one never wait, so there is nearly always one
round. What was neither sent nor failed was not tried. Used by ``relay``.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from paceline.messaging import Message
from paceline.postgres.outbox.table import Stored


class Publisher(Protocol):
    """The queue."""

    async def publish_all(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
        """Send them and wait; one outcome each, None for what the queue has acknowledged."""
        ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of a batch. ``failed`` is of unknown outcome: the queue may have it or not."""

    sent: list[Stored] = field(default_factory=list[Stored])
    failed: list[tuple[Stored, Exception]] = field(default_factory=list[tuple[Stored, Exception]])


async def publish_in_rounds(
    publisher: Publisher, messages: Sequence[Stored], seconds: float
) -> Attempt:
    """Publish a batch within ``seconds``; what is out when they are over has failed.

    Raises nothing but a cancellation: whatever the publisher raises is the outcome of its round.
    """
    attempt = Attempt()
    until = asyncio.get_running_loop().time() + seconds
    lines = _lines(messages)
    while lines:
        heads = [line.popleft() for line in lines]
        outcomes = await _publish(publisher, heads, until)
        for each, outcome in zip(heads, outcomes, strict=True):
            if outcome is None:
                attempt.sent.append(each)
            else:
                attempt.failed.append((each, outcome))
        pairs = zip(lines, outcomes, strict=True)
        lines = [line for line, outcome in pairs if line and outcome is None]
    return attempt


def _lines(messages: Sequence[Stored]) -> list[deque[Stored]]:
    """The messages of each key behind one another; each without a key stands alone."""
    lines: dict[str | int, deque[Stored]] = {}
    for each in messages:
        lines.setdefault(each.message.key or each.position, deque()).append(each)
    return [*lines.values()]


async def _publish(
    publisher: Publisher, out: Sequence[Stored], until: float
) -> Sequence[Exception | None]:
    try:
        async with asyncio.timeout_at(until):
            outcomes = await publisher.publish_all([each.message for each in out])
    except Exception as exc:  # noqa: BLE001 - whatever it is, these messages are not known as sent
        return [exc] * len(out)
    if len(outcomes) != len(out):
        return [RuntimeError(f"{len(outcomes)} outcomes for {len(out)} messages")] * len(out)
    return outcomes
