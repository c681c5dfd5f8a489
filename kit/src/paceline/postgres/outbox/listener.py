"""The relay's ear: messages that other processes have written are sent at once.

Whoever enqueues lets a `paceline.postgres.Notifier` tell after the commit; this listens and wakes
the relay. Nothing rests on it: a notification that is lost costs the relay's next look. Built by
``main`` beside the relay; read ``relay``.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from paceline.concurrency import BackgroundService


class Wakeup(Protocol):
    """What rings when something may have been written."""

    async def wait(self) -> None:
        """Wait until it has rung since the last time."""
        ...


class OutboxListener(BackgroundService):
    """Calls ``wake`` whenever the bell that ``listen`` opens has rung.

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
        """Listen for ever; waits for no connection to begin."""
        async with self._listen() as bell:
            while True:
                await bell.wait()
                self._wake()
