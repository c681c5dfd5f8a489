"""Wakes the relay when another process has written messages.

Whoever enqueues sends a notification after the commit (`paceline.postgres.Notifier`). Nothing
depends on it: when a notification is lost, the relay finds the messages at its next poll.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from paceline.concurrency import BackgroundService


class Wakeup(Protocol):
    """Set by each notification, as `paceline.postgres.Wakeup` is."""

    async def wait(self) -> None:
        """Wait until it has been set since the last time."""
        ...


class OutboxListener(BackgroundService):
    """Calls ``wake`` whenever what ``listen`` opens has been set.

    Example: ``OutboxListener(lambda: listening(dsn, "outbox", log), relay.wake)``.

    *Resources*: a task, and what ``listen`` opens, from `start` to `stop`.
    """

    name = "outbox listener"

    def __init__(
        self,
        listen: Callable[[], AbstractAsyncContextManager[Wakeup]],
        wake: Callable[[], None],
    ) -> None:
        super().__init__()
        self._listen = listen
        self._wake = wake

    async def run(self) -> None:
        """Listen until it is cancelled; does not wait for a connection to begin."""
        async with self._listen() as wakeup:
            while True:
                await wakeup.wait()
                self._wake()
