"""A queue for tests of the outbox: drops a second message of one id, and fails on request."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from paceline.messaging import Message

Fault = Callable[[Message], Exception | None]


def _none(_message: Message) -> None:
    return None


async def _at_once() -> None:
    pass


@dataclass
class FakeQueue:
    """``fault``: what is wrong with a message, if anything.

    ``before`` and ``after`` are awaited around each publish; between them the queue takes the
    messages, whether or not the publisher gets to know it.
    """

    fault: Fault = _none
    before: Callable[[], Awaitable[None]] = _at_once
    after: Callable[[], Awaitable[None]] = _at_once
    held: dict[str, Message] = field(default_factory=dict[str, Message])
    calls: int = 0
    duplicates: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def publish_all(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
        """Take the messages; one outcome for each."""
        self.calls += 1
        self._changed.set()
        await self.before()
        outcomes = [self._take(message) for message in messages]
        self._changed.set()
        await self.after()
        return outcomes

    def _take(self, message: Message) -> Exception | None:
        if (fault := self.fault(message)) is not None:
            return fault
        self.duplicates += message.id in self.held
        self.held.setdefault(message.id, message)
        return None

    @property
    def ids(self) -> list[str]:
        """The ids it holds, in order."""
        return [*self.held]

    async def holds(self, message_id: str) -> None:
        """Wait for a message."""
        await self.until(lambda: message_id in self.held)

    async def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait for the condition, checked whenever something is published."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()
