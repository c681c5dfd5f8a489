"""The relay's ear: messages that other processes have written are sent at once.

Whoever enqueues lets a `paceline.pg.Notifier` tell after the commit; this listens and wakes the
relay. Nothing rests on it: a notification that is lost costs the relay's next look. Built by
``main`` beside the relay; read ``relay``.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from typing import Protocol


class Bell(Protocol):
    """What rings when something may have been written."""

    async def heard(self) -> None:
        """Wait until it has rung since the last time."""
        ...


class OutboxListener:
    """Calls ``wake`` whenever the bell that ``listen`` opens has rung.

    *Resources*: a task, and what ``listen`` opens, from `start` to `stop`.
    """

    name = "outbox listener"

    def __init__(
        self,
        listen: Callable[[], AbstractAsyncContextManager[Bell]],
        wake: Callable[[], None],
    ) -> None:
        self._listen = listen
        self._wake = wake
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen; waits for no connection."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=self.name, context=Context())

    async def stop(self) -> None:
        """Listen no more. May be repeated, and called without a `start`."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def _run(self) -> None:
        async with self._listen() as bell:
            while True:
                await bell.heard()
                self._wake()
