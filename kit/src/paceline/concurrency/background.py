"""A service that is one task: it runs from start to stop, for ever in between.

Invariant: start and stop may come in any order and more than once, and after `stop` the task is
over, whatever it was at. It has a context of its own, so the deadline of whoever starts it is not
its deadline. What it does about failures is its own affair: one that leaves `run` ends it. Used by
what tidies, listens and watches beside the requests; ``lifecycle`` starts and stops it.
"""

import asyncio
from abc import ABC, abstractmethod
from contextvars import Context


class Background(ABC):
    """Runs `run` as a task named ``name``.

    *Resources*: the task, from `start` to `stop`.
    """

    name: str

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def run(self) -> None:
        """What it does until it is cancelled."""

    async def start(self) -> None:
        """Begin; waits for nothing."""
        if self._task is None:
            self._task = asyncio.create_task(self.run(), name=self.name, context=Context())

    async def stop(self) -> None:
        """Cancel it and wait until it is over."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
