"""A service that is one task, which runs from start to stop.

Invariant: `start` and `stop` may be called in any order and repeatedly, and after `stop` the task
has ended. The task has a context of its own, so the deadline of the code that starts it does not
apply to it. An exception that leaves `run` ends the task; what fails and goes on, `run` handles.
"""

import asyncio
from abc import ABC, abstractmethod
from contextvars import Context


class BackgroundService(ABC):
    """Runs `run` as a task called ``name``.

        class Cleaner(BackgroundService):
            name = "cleaner"

            async def run(self) -> None:
                while True:
                    await clean()
                    await asyncio.sleep(60)

    *Resources*: the task, from `start` to `stop`.
    """

    name: str

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def run(self) -> None:
        """The work, until it is cancelled."""

    async def start(self) -> None:
        """Start the task; does not wait for it."""
        if self._task is None:
            self._task = asyncio.create_task(self.run(), name=self.name, context=Context())

    async def stop(self) -> None:
        """Cancel the task and wait until it has ended."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
